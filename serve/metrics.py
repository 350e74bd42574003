"""What operators see: Prometheus metrics of one worker, or of all workers where several share the port."""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from serve.bundle import Bundle

# Where it is set, as the supervisor of several workers does before they start, every process writes its numbers there.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CLIP_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
BATCH = (1, 2, 4, 8, 16, 32, 64)
# The 20 bins in which a bundle keeps the probabilities of its training ("reference"), so that drift can be read from the two.
SCORES = tuple(round(0.05 * edge, 2) for edge in range(1, 21))


class Metrics:
    """Every metric, under one registry of its own."""

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        if SHARED not in os.environ:
            ProcessCollector(registry=own)
        self.requests = Counter("auscult_requests", "Requests answered.", ["route", "status"], registry=own)
        self.request_seconds = Histogram(
            "auscult_request_seconds", "From a request's first byte to its answer.", ["route"], buckets=SECONDS, registry=own
        )
        self.errors = Counter("auscult_errors", "Requests and recordings refused.", ["reason"], registry=own)
        self.recordings = Counter("auscult_recordings", "Recordings by outcome: ok, flagged, failed.", ["status"], registry=own)
        self.flags = Counter("auscult_flags", "Recordings with a quality flag.", ["flag"], registry=own)
        self.clip_seconds = Histogram("auscult_clip_seconds", "Duration of the answered recordings.", buckets=CLIP_SECONDS, registry=own)
        self.score = Histogram("auscult_score", "Probabilities answered.", ["label"], buckets=SCORES, registry=own)
        self.decode_seconds = Histogram("auscult_decode_seconds", "Time to decode a recording.", buckets=SECONDS, registry=own)
        self.inference_seconds = Histogram("auscult_inference_seconds", "Time of a call of the model.", buckets=SECONDS, registry=own)
        self.batch_size = Histogram("auscult_batch_size", "Recordings in a call of the model.", buckets=BATCH, registry=own)
        self.queue_depth = self._gauge("auscult_queue_depth", "Decoded recordings that wait for the model.")
        self.in_flight = self._gauge("auscult_requests_in_flight", "Requests for predictions that are being answered.")
        self.decoded_bytes = self._gauge("auscult_decoded_bytes", "Decoded audio that is held.")
        self.decoder_restarts = Counter("auscult_decoder_restarts", "Decoding processes that ended and were replaced.", registry=own)
        self.model_swaps = Counter("auscult_model_swaps", "Bundles read again, by outcome: swapped, unchanged, refused.", ["outcome"], registry=own)
        self._model = Gauge(
            "auscult_model_info", "Workers that answer with this version.", ["version", "backend"], multiprocess_mode="livesum", registry=own
        )

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(name, meaning, multiprocess_mode="livesum", registry=self._registry)

    def model_loaded(self, bundle: Bundle, backend: str) -> None:
        self._model.labels(bundle.version, backend).set(1)
        for label in bundle.labels:
            # A label whose score nobody asked for yet is a row of zeros, not absent.
            self.score.labels(label)

    def model_left(self, bundle: Bundle, backend: str) -> None:
        # Rows cannot be removed where several processes share them.
        self._model.labels(bundle.version, backend).set(0)

    def exposition(self) -> bytes:
        """All metrics as Prometheus text."""
        registry = self._registry
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=str(Path(os.environ[SHARED])))
        return generate_latest(registry)
