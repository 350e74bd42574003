"""One page, and the tables behind it, on what a run's out-of-fold predictions are worth."""
