"""The ways to calibrate, by name, where a command line can import them without torch."""

from typing import Literal

Choice = Literal["none", "temperature", "platt", "isotonic", "fold_platt"]
"""All but "none" and "fold_platt" are cross-fitted: fold k by the other folds' out-of-fold predictions, the exported networks by those of
all folds. "fold_platt" is Platt scaling of each fold's model on its own validation clips, held-out ones untouched."""
