"""What an exported file is made of: windows, and networks of each kind, compiled as they answer."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from made_noise import noise

from common.encoders import Ast, Cnn1d, Cnn2d, Crnn, EfficientAT, Encoder, LayerFrames, Panns, Pooled
from common.frontends import BandPass, FrontEnd, KaldiLogMel, LogMel, Mfcc, PannsLogMel, Stacked
from finetune.classifier import Classifier
from finetune.export.exported_model import ExportedModel
from finetune.export.file import largest_difference, script
from finetune.export.networks import Network, trace
from finetune.frame_head import FrameHead
from finetune.tasks.multilabel import MultiLabel

RATE = 4000


class Loudness(torch.nn.Module):
    """A network small enough to work out by hand: the share of samples above 0."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return (windows > 0).float().mean(dim=1, keepdim=True)


def wrapped(short_clips: str, aggregate: str) -> ExportedModel:
    return ExportedModel([Loudness()], ["loud"], [0.5], RATE, 1000, 500, short_clips, aggregate).eval()


@pytest.mark.parametrize(
    ("short_clips", "aggregate", "expected"), [("repeat", "mean", 0.9), ("pad", "mean", 0.36), ("repeat", "max", 0.9), ("pad", "max", 0.36)]
)
def test_a_short_clip_is_filled_as_in_training(short_clips: str, aggregate: str, expected: float) -> None:
    waveform = torch.ones(1, 400)
    waveform[0, :40] = -1.0
    # 400 samples repeat 2.5 times in a window of 1000: 120 of them are negative when the last half holds the first 40 again.
    repeated = (400 - 40) * 2 + (200 - 40)
    answered = wrapped(short_clips, aggregate)(waveform, RATE)[0].item()
    assert answered == pytest.approx(repeated / 1000 if short_clips == "repeat" else 0.36)
    assert answered == pytest.approx(expected, abs=0.03)


def test_a_long_clip_is_covered_by_windows_that_end_with_it() -> None:
    waveform = torch.full((1, 1700), -1.0)
    waveform[0, 1500:] = 1.0
    # Windows start at 0, 500 and 700: shares 0, 0 and 0.2.
    assert wrapped("repeat", "mean")(waveform, RATE)[0].item() == pytest.approx(0.2 / 3)
    assert wrapped("repeat", "max")(waveform, RATE)[0].item() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("front_end", "make"),
    [
        (KaldiLogMel(), lambda: EfficientAT(0.1, None, 1.0)),
        (KaldiLogMel(), lambda: Pooled(EfficientAT(0.1, None, 1.0), 128)),
        (KaldiLogMel(), lambda: LayerFrames(EfficientAT(0.1, None, 1.0), 128)),
        (PannsLogMel(), lambda: Panns("cnn6")),
        (Mfcc(num_coefficients=13), lambda: Cnn1d(num_bins=13, channels=(4, 8))),
        (Stacked([LogMel(), Mfcc(num_coefficients=13)]), lambda: Cnn2d((4, 8))),
        (BandPass(LogMel()), lambda: Crnn((4, 8), hidden=8)),
        (BandPass(Stacked([LogMel(num_mels=32), Mfcc(num_mels=32)]), None, 900.0), lambda: Ast(stride=16, num_bins=64, num_frames=128)),
        (LogMel(sample_rate=48000, n_fft=2048, hop=768), lambda: Cnn2d((4, 8))),
    ],
    ids=["efficientat", "pooled", "frames", "panns", "mfcc", "stacked", "band_pass_crnn", "ast", "48_khz"],
)
def test_networks_of_each_kind_leave_as_they_answer(front_end: FrontEnd, make: Callable[[], Encoder], tmp_path: Path) -> None:
    task = MultiLabel()
    # Before the network is made, so that its weights do not depend on what other tests drew.
    torch.manual_seed(0)
    encoder = make()
    frame_head = FrameHead(("wheeze",), units=8, networks=2) if isinstance(encoder, LayerFrames) else None
    classifier = Classifier(task, front_end, encoder, clip_s=0.5, frame_head=frame_head).eval()
    window = round(0.5 * front_end.sample_rate)
    # Statistics of batch norm as after training: with those of a new network next to nothing reaches the output.
    encoder.train()(front_end(noise(8, window)))
    encoder.eval()

    def wrapped(network: torch.nn.Module) -> ExportedModel:
        labels = list(task.labels)
        return ExportedModel([network], labels, [0.5] * 3, front_end.sample_rate, window, window // 2, "repeat", "mean").eval()

    compiled = script(wrapped(trace(classifier, window)))
    assert largest_difference(compiled, wrapped(Network(classifier).eval())) <= 1e-5
    compiled.save(str(tmp_path / "model.pt"))
    # Unlike in spectrum, since all white noise is alike to a network that has heard none else.
    waveform = noise(2, 3 * RATE)
    waveform[1] = waveform[1].cumsum(0) / 30
    answered, _ = torch.jit.load(str(tmp_path / "model.pt"))(waveform, RATE)
    torch.testing.assert_close(answered, compiled(waveform, RATE)[0])
    assert (answered[0] - answered[1]).abs().max() > 1e-4


def test_a_compiled_file_that_answers_otherwise_is_refused() -> None:
    class Off(Loudness):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            return super().forward(windows) + 1e-3

    compiled = script(
        ExportedModel([torch.jit.trace(Loudness(), noise(2, 1000))], ["loud"], [0.5], RATE, 1000, 500, "repeat", "mean").eval()
    )
    other = ExportedModel([Off()], ["loud"], [0.5], RATE, 1000, 500, "repeat", "mean").eval()
    assert largest_difference(compiled, wrapped("repeat", "mean")) <= 1e-5
    with pytest.raises(Exception, match="differs from the model"):
        largest_difference(compiled, other)
