"""The Objective interface: from the projections of two views of each clip to one number that training lowers."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from common.described import Described
from common.errors import UserError


@dataclass(frozen=True)
class Pairs:
    """Two views of each clip of a batch, those of all processes joined.

    Attributes:
        z1: first views' projections, [B, D], of any length.
        z2: second views' projections of the same clips in the same order, [B, D].
        own: the clips of this process; all of them where there is one.
        codes: int64 [V, B], V = 1 or 2: clips with a code in common may not be negatives of each other; None: any may.
        labels: int64 [V, B], V = 1 or 2: equal where the annotated labels are equal, -1 where a label is unknown; None without labels.
    """

    z1: Tensor
    z2: Tensor
    own: slice
    codes: Tensor | None = None
    labels: Tensor | None = None


class Objective(Described):
    """A loss over pairs of views.

    A subclass writes ``__call__``. In a run of several processes each is given the joined batch and its own part of it, and the mean of
    what they return must be what one process would return: then the mean of their gradients is its gradient.

    Attributes:
        uses_labels: whether ``labels`` of the pairs are needed.
    """

    uses_labels: ClassVar[bool] = False

    def __call__(self, pairs: Pairs) -> Tensor:
        """The loss, a scalar of float32 or better."""
        raise NotImplementedError


def refuse_not_positive(owner: Objective, **values: float | None) -> None:
    """Refuse arguments that are 0 or less; None is let through.

    Raises:
        UserError: naming the objective, the argument and what was expected.
    """
    for name, value in values.items():
        if value is not None and value <= 0:
            raise UserError(f"{type(owner).__name__}: {name} is {value}, expected a number above 0.")
