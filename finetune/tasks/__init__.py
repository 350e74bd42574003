"""Tasks: label sets with their loss, activation, decoding rule and metrics."""
