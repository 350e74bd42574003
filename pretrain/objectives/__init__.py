"""What the projections of two views are asked for: objectives that a config names by ``model.objective``."""

from pretrain.objectives.base import Objective, Pairs
from pretrain.objectives.nt_xent import NTXent
from pretrain.objectives.sup_con import SupCon
from pretrain.objectives.vicreg import VICReg

__all__ = ["NTXent", "Objective", "Pairs", "SupCon", "VICReg"]
