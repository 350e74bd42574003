"""One page on what a run learned: its curves, what it was shown, and a map of its embeddings."""
