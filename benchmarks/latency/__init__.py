"""Parts of the inference benchmark: the ways from a file to its probabilities, and how they are timed."""
