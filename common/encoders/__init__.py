"""Encoders: spectrogram to embedding."""
