"""What the two stages share in training: the command, the clips in batches, the optimiser, checkpoints and tracking."""
