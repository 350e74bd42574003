"""Prediction: recordings in, one row of probabilities and decisions per recording out, by an exported file."""
