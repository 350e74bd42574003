"""The waveform store: every recording decoded, mixed to mono and resampled once."""
