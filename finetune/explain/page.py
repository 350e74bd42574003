"""The page of maps. How it looks is in report.html."""

from typing import TYPE_CHECKING

from torch import Tensor

from common.page.drawing import STYLE, data_uri
from common.page.frequency_axis import hz_ticks
from common.page.page import Picture, fill, number
from finetune.explain.maps import Explained, LabelMap

AFTER_THE_CLIP = {"repeat": "the clip begins again", "pad": "there is silence"}

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def render(explained: list[Explained]) -> str:
    """The page as one HTML text that needs no other file and no network."""
    return fill("finetune.explain", clips=[(each.listening, _picture(each), each.has_grad_cam) for each in explained])


def _picture(explained: Explained) -> Picture:
    """One row per label: spectrogram, occlusion map and Grad-CAM."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(12, 2.6 * len(explained.maps)), layout="constrained")
        rows = figure.subplots(len(explained.maps), 3 if explained.has_grad_cam else 2, squeeze=False, sharey=True)
        for axes, of in zip(rows, explained.maps, strict=True):
            extent = (of.start_s, of.start_s + explained.window_s, -0.5, len(of.spectrogram) - 0.5)
            _show(axes[0], of.spectrogram, extent, "magma", f"{of.label}: probability {number(of.probability)}")
            peak = max(float(of.occlusion.abs().max()), 1e-9)
            _show(axes[1], of.occlusion, extent, "RdBu_r", f"Occlusion: logit falls by up to {float(of.occlusion.max()):.2f}", -peak, peak)
            if of.grad_cam is not None:
                _show(axes[2], of.grad_cam, extent, "viridis", "Grad-CAM", 0.0)
            _frequency_axis(axes[0], explained.bin_hz)
            if explained.sound_s < explained.window_s:
                for each in axes:
                    each.axvline(
                        explained.sound_s, color="white", linestyle="--", path_effects=[withStroke(linewidth=3, foreground="black")]
                    )
        for axes in rows[-1]:
            axes.set(xlabel="Time in the clip, s")
        source = data_uri(figure)
    words = ", ".join(_words(of) for of in explained.maps)
    return Picture(
        f"Left: what the network is given. Red: hiding it lowers the label's logit; blue: raises it.{_end(explained)}",
        source,
        f"Maps: {words}.",
    )


def _show(
    axes: "Axes", image: Tensor, extent: tuple[float, ...], colours: str, title: str, low: float | None = None, high: float | None = None
) -> None:
    left, right, bottom, top = extent
    axes.imshow(image.numpy(), origin="lower", aspect="auto", extent=(left, right, bottom, top), cmap=colours, vmin=low, vmax=high)
    axes.set_title(title)


def _frequency_axis(axes: "Axes", bin_hz: Tensor | None) -> None:
    """In Hz where the front end knows where its bins lie, else (MFCC, stacked) their numbers."""
    if bin_hz is None:
        axes.set(ylabel="Coefficient or bin")
        return
    axes.set_yticks(*hz_ticks(bin_hz.numpy()))
    axes.set(ylabel="Hz")


def _end(explained: Explained) -> str:
    """What a clip that is shorter than the window is followed by, in words."""
    if explained.sound_s >= explained.window_s:
        return ""
    return f" Right of the dashed line, from the clip's end at {explained.sound_s:.2f} s on, {AFTER_THE_CLIP[explained.short_clips]}."


def _words(of: LabelMap) -> str:
    return f"{of.label} {number(of.probability)} from {of.start_s:.1f} s on"
