"""Export: the folds of a run leave as TorchScript files that open with ``torch`` alone."""
