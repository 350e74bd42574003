"""How far the recordings answered lately are from those that the bundle was made with: scores by label, and quality flags.

Every worker exports the counts of its own window, which add up over workers; the index is computed from their sums when it is asked for.
Indices of single workers could not be joined: the index of two windows together is neither the sum nor the mean of theirs.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.core import GaugeMetricFamily

from serve.bundle import Bundle

# With N recordings and M reference clips and no drift, the index of 20 bins is about 19 (1/N + 1/M): 0.1 from 200 recordings alone.
LEAST_RECORDINGS = 200
SMOOTHING = 0.5
SCORES, FLAGS, RECORDINGS = "auscult_recent_scores", "auscult_recent_flags", "auscult_recent_recordings"


def population_stability_index(counts: Sequence[float], reference: Sequence[float]) -> float:
    """The difference of two distributions over the same bins: sum over bins of (p - q) ln(p / q), 0 where they are equal.

    Its author reads less than 0.10 as no change, more than 0.25 as a shift that needs an answer.

    Args:
        counts: of what is seen now, one per bin; p are their shares.
        reference: counts of what is expected; q are their shares. Every bin of either side has half a count more, so that an empty one
            does not make the index infinite.

    Reference:
        Siddiqi, Credit Risk Scorecards (Wiley, 2006), the stability index of the system stability report; its mean without any change by
        Yurdakul and Naranjo, Statistical properties of the population stability index (Journal of Risk Model Validation, 2020).
    """
    return sum((p - q) * log(p / q) for p, q in zip(_shares(counts), _shares(reference), strict=True))


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts) + SMOOTHING * len(counts)
    return [(count + SMOOTHING) / total for count in counts]


@dataclass(frozen=True)
class Reference:
    """What a bundle says of its training.

    Attributes:
        version: of the bundle.
        edges: of the bins, ascending; a bin holds its lower edge.
        counts: label -> number of probabilities in each bin.
        flags: quality flag -> share of the clips that have it; empty where the bundle does not know.
        names: of all quality flags.
    """

    version: str
    edges: tuple[float, ...]
    counts: dict[str, list[int]]
    flags: dict[str, float]
    names: tuple[str, ...]

    @classmethod
    def of(cls, bundle: Bundle) -> "Reference | None":
        """Of a bundle; None where its model.json has no ``reference``."""
        about: dict[str, Any] | None = bundle.description.get("reference")
        if not about:
            return None
        names = tuple(bundle.description["flags"].values())
        return cls(bundle.version, tuple(about["edges"]), about["probabilities"], about.get("flags") or {}, names)

    @property
    def bins(self) -> list[str]:
        """Names of the bins: their lower edges."""
        return [f"{edge:g}" for edge in self.edges[:-1]]

    def bin_of(self, probability: float) -> str:
        return self.bins[min(max(bisect_right(self.edges, probability) - 1, 0), len(self.edges) - 2)]


class Drift:
    """A window over the last recordings of the bundle that answers now.

    Args:
        window: recordings of one worker.
        registry: takes the window's counts.
    """

    def __init__(self, window: int, registry: CollectorRegistry) -> None:
        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            # Of several workers the sum over those that live. By version, so that a swap that some workers took already mixes nothing.
            return Gauge(name, meaning, ("version", *labels), multiprocess_mode="livesum", registry=registry)

        self._recordings = gauge(RECORDINGS, "Recordings in the window over the last ones.")
        self._scores = gauge(
            SCORES, "Recordings in the window by label and bin of the bundle's reference, named by its lower edge.", "label", "bin"
        )
        self._flags = gauge(FLAGS, "Recordings in the window with a quality flag.", "flag")
        self._size = window
        self._reference: Reference | None = None
        self._window: deque[list[Gauge]] = deque()

    def follow(self, bundle: Bundle) -> None:
        """Begin a window of ``bundle``'s answers, and forget that of another."""
        while self._window:
            self._leave()
        self._reference = reference = Reference.of(bundle)
        if reference is None:
            return
        for rows in self._rows(reference):
            rows.set(0)

    def observe(self, version: str, probabilities: dict[str, float], flags: Iterable[str]) -> None:
        """Take an answer into the window; one that another bundle than that of the window gave is left out.

        Args:
            version: of the bundle that answered.
            probabilities: label -> probability.
            flags: names of the recording's quality flags.
        """
        reference = self._reference
        if reference is None or version != reference.version:
            return
        entry = [self._recordings.labels(version)]
        entry += [
            self._scores.labels(version, label, reference.bin_of(probability))
            for label, probability in probabilities.items()
            if label in reference.counts
        ]
        entry += [self._flags.labels(version, flag) for flag in flags]
        for row in entry:
            row.inc()
        self._window.append(entry)
        if len(self._window) > self._size:
            self._leave()

    def families(self, collected: Iterable[Metric]) -> list[Metric]:
        """The metrics that follow from the counts of all workers.

        Args:
            collected: from the registry, or from the files of all workers.
        """
        psi = GaugeMetricFamily(
            "auscult_score_psi", "Population stability index of the window's scores against the reference.", labels=["label"]
        )
        share = GaugeMetricFamily("auscult_flag_share", "Share of the window's recordings with a quality flag.", labels=["flag"])
        expected = GaugeMetricFamily(
            "auscult_reference_flag_share", "Share of the bundle's training clips with a quality flag.", labels=["flag"]
        )
        reference = self._reference
        if reference is not None:
            counts = {
                (sample.name, sample.labels.get("label") or sample.labels.get("flag"), sample.labels.get("bin")): sample.value
                for family in collected
                for sample in family.samples
                if sample.labels.get("version") == reference.version
            }
            for flag, value in reference.flags.items():
                expected.add_metric([flag], value)
            recordings = counts.get((RECORDINGS, None, None), 0.0)
            if recordings >= LEAST_RECORDINGS:
                for label, known in reference.counts.items():
                    seen = [counts.get((SCORES, label, name), 0.0) for name in reference.bins]
                    psi.add_metric([label], population_stability_index(seen, known))
                for flag in reference.names:
                    share.add_metric([flag], counts.get((FLAGS, flag, None), 0.0) / recordings)
        return [psi, share, expected]

    def _rows(self, reference: Reference) -> Iterable[Gauge]:
        """Every row that the window of ``reference`` counts in."""
        yield self._recordings.labels(reference.version)
        for label in reference.counts:
            for name in reference.bins:
                yield self._scores.labels(reference.version, label, name)
        for flag in reference.names:
            yield self._flags.labels(reference.version, flag)

    def _leave(self) -> None:
        for row in self._window.popleft():
            row.dec()
