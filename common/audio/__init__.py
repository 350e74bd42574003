"""Reading, resampling and judging waveforms."""
