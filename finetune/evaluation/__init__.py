"""How good the classifiers are on clips that they never saw: metrics, thresholds and intervals from out-of-fold predictions."""
