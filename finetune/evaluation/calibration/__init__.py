"""Making probabilities mean what they say, and measuring whether they do."""
