"""What a run tells of itself: meters, probes, leakage, pictures of views, and when it must stop."""
