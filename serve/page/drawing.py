"""The pictures of the page, each with words for those who do not see it; lines, hatches and text say what colours say."""

import base64
import io
import threading
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serve.page.model_facts import ModelFacts
from serve.page.recording import Recording
from serve.page.spectrogram import RANGE_DB, spectrogram
from serve.page.track import Track
from serve.page.words import decision
from serve.schemas import LabelAnswer, RecordingAnswer

# Okabe & Ito's, which colour-blind readers can tell apart.
BLUE, VERMILION = "#0072b2", "#d55e00"
INK, PALE, GRID = "#1f2933", "#9cc3de", "#e4e7eb"
HATCH = "////"
WIDTH_IN = 10.0
DPI = 110
# Of the picture's width, that a label's name takes.
NAME_SHARE = 0.08
MOST_LINED = 100
# Any: the type of an rcParams key is a Literal of every one there is.
STYLE: Any = {
    "font.size": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.6,
    # A dollar sign in a label is no formula.
    "text.parse_math": False,
}
# Visitors' pages run in threads, and matplotlib's settings are of the whole process.
ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """A PNG, and in words what it shows."""

    png: bytes = field(repr=False)
    alt: str

    @property
    def data_uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


def overview(recording: Recording, facts: ModelFacts, track: Track) -> Picture:
    """Waveform, spectrogram with the labels over it, and each label's probability over time, on one axis of time."""
    with ONE_AT_A_TIME, matplotlib.rc_context(STYLE):
        heights = [0.9, 2.2, *[0.75] * len(track.labels)]
        figure = Figure((WIDTH_IN, sum(heights) + 0.9), dpi=DPI, layout="constrained")
        waveform, image, *rows = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        _waveform(waveform, recording)
        _spectrogram(image, recording, facts)
        _labels_over(image, track, recording.duration_s)
        for column, axes in enumerate(rows):
            _probability(axes, track, column)
        rows[-1].set_xlabel("Time (s)")
        rows[-1].set_xlim(0, recording.duration_s)
        top = min(facts.band_hz, recording.sample_rate / 2)
        numbers = "the same numbers" if track.table_step == 1 else f"the highest of every {track.table_step}"
        said = "; ".join(f"{label} {_spans_in_words(track, column)}" for column, label in enumerate(track.labels))
        return Picture(
            _png(figure),
            f"Waveform, spectrogram up to {top:g} Hz and probability of each label over {recording.duration_s:.1f} s. "
            f"Present: {said}. The table of {track.by} has {numbers}.",
        )


def probabilities(result: RecordingAnswer, facts: ModelFacts) -> Picture:
    """A bar for each label, with its threshold as a line and its abstain band hatched."""
    with ONE_AT_A_TIME, matplotlib.rc_context(STYLE):
        figure = Figure((WIDTH_IN, 0.9 + 0.5 * len(result.labels)), dpi=DPI, layout="constrained")
        axes = figure.subplots()
        for row, answer in enumerate(result.labels):
            _bar(axes, row, answer, facts.abstain.get(answer.label))
        axes.set(xlim=(0, 1.28), ylim=(len(result.labels) - 0.5, -0.5), xlabel="Probability")
        axes.set_yticks(range(len(result.labels)), [answer.label for answer in result.labels])
        axes.set_xticks(np.arange(0, 1.1, 0.2))
        axes.grid(False, axis="y")
        said = ", ".join(f"{answer.label} {answer.probability:.2f} ({decision(answer)})" for answer in result.labels)
        return Picture(_png(figure), f"Bars of probability against thresholds: {said}. The table below has the same numbers.")


def _bar(axes: Axes, row: int, answer: LabelAnswer, band: tuple[float, float] | None) -> None:
    if band is not None and band[1] > band[0]:
        axes.barh(row, band[1] - band[0], left=band[0], height=0.8, facecolor="none", edgecolor=VERMILION, hatch=HATCH, linewidth=0.8)
    axes.barh(row, answer.probability, height=0.42, color=BLUE if decision(answer) == "present" else PALE, edgecolor=INK, linewidth=0.8)
    axes.plot([answer.threshold] * 2, [row - 0.42, row + 0.42], color=INK, linewidth=2, linestyle="--")
    axes.text(1.01, row, f"{answer.probability:.2f}  {decision(answer)}", va="center")


def _waveform(axes: Axes, recording: Recording) -> None:
    low, high = _envelope(recording.waveform)
    time = np.linspace(0, recording.duration_s, len(low))
    axes.fill_between(time, low, high, color=INK, linewidth=0.4)
    peak = max(float(np.abs(recording.waveform).max(initial=0.0)), 1e-6)
    axes.set(ylim=(-1.05 * peak, 1.05 * peak), ylabel="Amplitude\n(full scale 1)")


def _envelope(waveform: np.ndarray, columns: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest sample of each column [C]."""
    starts = np.unique(np.linspace(0, len(waveform), columns, endpoint=False).astype(int))
    return np.minimum.reduceat(waveform, starts), np.maximum.reduceat(waveform, starts)


def _spectrogram(axes: Axes, recording: Recording, facts: ModelFacts) -> None:
    shown = spectrogram(recording.waveform, recording.sample_rate, facts.band_hz)
    image = axes.imshow(
        shown.levels_db,
        origin="lower",
        aspect="auto",
        extent=(0, shown.duration_s, 0, shown.top_hz),
        cmap="magma",
        vmin=-RANGE_DB,
        vmax=0,
        interpolation="nearest",
    )
    axes.set_ylabel("Frequency (Hz)")
    axes.grid(False)
    axes.figure.colorbar(image, ax=axes, pad=0.01, label="dB (over 0: the\nloudest moments)")


def _spans_in_words(track: Track, column: int) -> str:
    found = track.spans(column)
    return ", ".join(f"{begin:.1f} to {end:.1f} s" for begin, end in found[:10]) + (" and more" if len(found) > 10 else "") or "nowhere"


def _labels_over(axes: Axes, track: Track, duration_s: float) -> None:
    top = axes.get_ylim()[1]
    height = min(0.12, 0.8 / len(track.labels)) * top
    for column, label in enumerate(track.labels):
        middle = top - (column + 0.6) * height
        spans = track.spans(column)
        # Lines round bars that are narrower than they are would leave nothing white.
        line = 0.8 if len(spans) <= MOST_LINED else 0.0
        _stretches(axes, spans, (middle - 0.375 * height, 0.75 * height), facecolor="white", alpha=0.85, edgecolor=INK, linewidth=line)
        for number, (begin, end) in enumerate(spans):
            # Of many short ones only the first is named: a name that is longer than its bar looks like one.
            if number and end - begin < NAME_SHARE * duration_s:
                continue
            near_end = begin > 0.9 * duration_s
            name = axes.text(end if near_end else begin, middle, f" {label} ", va="center", ha="right" if near_end else "left", fontsize=8)
            name.set(color=INK, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.3})


def _stretches(axes: Axes, spans: list[tuple[float, float]], low_height: tuple[float, float], **look: Any) -> None:
    """Stretches of time as one artist: a long recording may have a thousand."""
    axes.broken_barh([(begin, end - begin) for begin, end in spans], low_height, **look)


def _probability(axes: Axes, track: Track, column: int) -> None:
    band = track.bands.get(track.labels[column])
    if band is not None and band[1] > band[0]:
        axes.axhspan(*band, facecolor="none", edgecolor=VERMILION, hatch=HATCH, linewidth=0, zorder=0)
    axes.axhline(track.thresholds[column], color=INK, linewidth=1.2, linestyle="--")
    axes.stairs(track.probabilities[:, column], track.edges_s, color=BLUE, linewidth=1.6, baseline=None)
    dotted: Any = {"facecolor": PALE, "alpha": 0.5, "hatch": "..", "edgecolor": BLUE, "linewidth": 0, "zorder": 0}
    _stretches(axes, track.spans(column), (0, 1), **dotted, transform=axes.get_xaxis_transform())
    axes.set(ylim=(-0.04, 1.04), yticks=(0, 1))
    axes.set_ylabel(track.labels[column], rotation=0, ha="right", va="center")


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor="white")
    return file.getvalue()
