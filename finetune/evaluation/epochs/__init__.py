"""The epoch that validation chose beside the best one on the held-out clips."""
