"""Augmentations of waveforms and spectrograms, drawn per example and applied to the batch on its device."""
