"""What operators see: Prometheus metrics of one worker, or of all workers where several share the port."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from serve.bundle import Bundle
from serve.drift import Drift
from serve.errors import REASONS
from serve.metric_files import FOLDER, PLACE, make_room

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CLIP_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SWAPS = ("swapped", "unchanged", "refused")
BATCH = (1, 2, 4, 8, 16, 32, 64)
# The 20 bins in which a bundle keeps the probabilities of its training ("reference"), so that drift can be read from the two.
SCORES = tuple(round(0.05 * edge, 2) for edge in range(1, 21))


class Metrics:
    """Every metric, under one registry of its own.

    Args:
        drift_window: recordings over which a worker looks for drift.
    """

    def __init__(self, drift_window: int = 1000) -> None:
        self._registry = CollectorRegistry()
        if FOLDER not in os.environ:
            ProcessCollector(registry=self._registry)
        self.requests = self._counter("requests", "Requests answered.", "route", "status")
        self.request_seconds = self._histogram("request_seconds", "From a request's first byte to its answer.", SECONDS, "route")
        self.errors = self._counter("errors", "Requests and recordings refused.", "reason")
        self.recordings = self._counter("recordings", "Recordings by outcome: ok, flagged, failed.", "status")
        self.flags = self._counter("flags", "Recordings with a quality flag or a warning.", "flag")
        self.clip_seconds = self._histogram("clip_seconds", "Duration of the answered recordings.", CLIP_SECONDS)
        self.score = self._histogram("score", "Probabilities of whole recordings answered.", SCORES, "label")
        self.decode_seconds = self._histogram("decode_seconds", "Time to decode a recording, its wait included.", SECONDS)
        self.inference_seconds = self._histogram("inference_seconds", "Time of a call of the model.", SECONDS)
        self.batch_size = self._histogram("batch_size", "Recordings, or windows for frames, in a call of the model.", BATCH)
        self.queue_depth = self._gauge("queue_depth", "Decoded recordings, or windows for frames, that wait for the model.")
        self.in_flight = self._gauge("requests_in_flight", "Requests about recordings that are being answered.")
        self.decoded_bytes = self._gauge("decoded_bytes", "Decoded audio that is held.")
        self.decoder_restarts = self._counter("decoder_restarts", "Decoding processes that ended and were replaced.")
        self.model_swaps = self._counter("model_swaps", "Bundles read again, by outcome: swapped, unchanged, refused.", "outcome")
        self._model = self._gauge("model_info", "Workers that answer with this version.", "version", "backend")
        self.drift = Drift(drift_window, self._registry)
        # Prometheus sees a counter grow from 0 to 1 only if it has seen the 0.
        for reason in REASONS:
            self.errors.labels(reason)
        for outcome in SWAPS:
            self.model_swaps.labels(outcome)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"auscult_{name}", meaning, labels, registry=self._registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"auscult_{name}", meaning, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        # Of several workers the sum over those that live.
        return Gauge(f"auscult_{name}", meaning, labels, multiprocess_mode="livesum", registry=self._registry)

    def make_room(self) -> None:
        """Take the room for the rows of another bundle.

        Raises:
            OSError: several workers keep their metrics in files, and there is no room for more.
        """
        if FOLDER in os.environ:
            make_room(Path(os.environ[FOLDER]), int(os.environ[PLACE]))

    def model_loaded(self, bundle: Bundle, backend: str) -> None:
        self._model.labels(bundle.version, backend).set(1)
        self.drift.follow(bundle)
        for label in bundle.labels:
            # A label whose score nobody asked for yet is a row of zeros, not absent.
            self.score.labels(label)

    def model_left(self, bundle: Bundle, backend: str) -> None:
        # Rows cannot be removed where several processes share them.
        self._model.labels(bundle.version, backend).set(0)

    def exposition(self) -> bytes:
        """All metrics as Prometheus text."""
        registry = self._registry
        if FOLDER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=os.environ[FOLDER])
        collected = list(registry.collect())
        whole = CollectorRegistry()
        whole.register(_Collected([*collected, *self.drift.families(collected)]))
        return generate_latest(whole)


class _Collected(Collector):
    """Metrics that were collected already."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics
