"""Front ends: waveform to spectrogram inside the model."""
