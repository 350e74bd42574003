"""What both stages know: audio, manifests, the waveform store, augmentation, front ends, encoders, metrics, tracking."""
