"""Leaving the doubtful clips to a person."""
