"""Maps point at the sound that the network was made to hear, and the command puts them on a page that stands alone."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from torch import Tensor, nn

from common.encoders import Cnn1d
from common.encoders.base import Encoder
from common.errors import UserError
from common.frontends import BandPass, Cqt, LogMel, Mfcc
from common.frontends.base import FrontEnd
from finetune.__main__ import main
from finetune.classifier import Classifier
from finetune.explain.grad_cam import grad_cam
from finetune.explain.maps import explain_clip
from finetune.explain.occlusion import occlusion
from finetune.explain.page import render
from finetune.tasks.multilabel import MultiLabel

RATE = 4000


class Loud(Encoder):
    """Hears what is louder than a level: its map is the spectrogram above it."""

    num_features = 1

    def __init__(self, level: float) -> None:
        super().__init__()
        self.above = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
        nn.init.ones_(self.above[0].weight)
        nn.init.constant_(self.above[0].bias, -level)

    def feature_map(self, spectrogram: Tensor) -> Tensor:
        return self.above(spectrogram).mean(dim=2)


def heard(encoder_of) -> tuple[Classifier, Tensor, np.ndarray]:
    """A classifier whose wheeze is a loud sound, the spectrogram of 4 s with a tone from 2 to 3 s, and where in it the tone lies."""
    front_end = LogMel(sample_rate=RATE, num_mels=32)
    time = np.arange(4 * RATE) / RATE
    waveform = 0.005 * np.random.default_rng(0).standard_normal(len(time)) + 0.4 * np.sin(2 * np.pi * 440 * time) * (
        (time > 2) & (time < 3)
    )
    with torch.no_grad():
        spectrogram = front_end(torch.from_numpy(waveform).float()[None])
    torch.manual_seed(0)
    level = float(spectrogram.quantile(0.5) + 0.5 * (spectrogram.max() - spectrogram.quantile(0.5)))
    classifier = Classifier(MultiLabel(), front_end, encoder_of(level), clip_s=4.0).eval()
    with torch.no_grad():
        classifier.head.last.bias.zero_()
        if isinstance(classifier.encoder, Loud):
            classifier.head.last.weight[:] = torch.tensor([[-1.0], [10.0], [0.0]])
    return classifier, spectrogram, (spectrogram[0, 0] > level).numpy()


def near(tone: np.ndarray, bins: int, frames: int) -> np.ndarray:
    """The box around the tone, widened."""
    rows, columns = np.flatnonzero(tone.any(axis=1)), np.flatnonzero(tone.any(axis=0))
    box = np.zeros(tone.shape, bool)
    box[max(0, rows[0] - bins) : rows[-1] + bins + 1, max(0, columns[0] - frames) : columns[-1] + frames + 1] = True
    return box


def test_both_maps_lie_on_the_sound():
    classifier, spectrogram, tone = heard(Loud)
    box = near(tone, 32 // 8, spectrogram.shape[-1] // 16)
    assert box.mean() < 0.25, "the made tone must be a small part of the picture, or the test says nothing"
    for found in (occlusion(classifier, spectrogram), grad_cam(classifier, spectrogram)):
        normal, wheeze, crackle = found.numpy()
        assert wheeze.shape == tone.shape
        assert wheeze[box].sum() > 0.95 * np.abs(wheeze).sum() > 0
        # The tone speaks against normal, which a cut at zero hides and occlusion shows; crackle's logit does not move.
        assert normal[box].sum() <= 0 and np.abs(crackle).max() < 1e-6


def test_a_patch_is_worth_what_its_removal_takes_from_the_logit():
    classifier, spectrogram, _ = heard(Loud)
    map_ = occlusion(classifier, spectrogram)
    hidden = spectrogram.clone()
    height, width = spectrogram.shape[2] // 8, spectrogram.shape[3] // 16
    hidden[..., :height, :width] = spectrogram.mean()
    with torch.no_grad():
        fall = (classifier.classify(spectrogram) - classifier.classify(hidden))[0]
    # The corner is covered by this one patch alone.
    torch.testing.assert_close(map_[:, 0, 0], fall)


def test_a_network_over_time_alone_has_no_grad_cam():
    classifier, spectrogram, _ = heard(lambda level: Cnn1d(32))
    assert grad_cam(classifier, spectrogram) is None
    assert occlusion(classifier, spectrogram).shape == (3, *spectrogram.shape[2:])


def test_the_command_writes_a_page_of_the_clips(made: Path, finished_run, tmp_path: Path):
    out = tmp_path / "page.html"
    figures = main(["explain", "--run", str(finished_run[0]), "--clip", '["c001", "c002"]', "--out", str(out)])
    page = out.read_text()
    assert figures["clips"] == 2 and figures["grad_cam"] and "c001" in page and "which held it out" in page
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 6 and all(source.startswith("data:") for source in sources)
    checkpoint = str(finished_run[0] / "fold-0" / "best.ckpt")
    manifest = ("--manifest", str(made / "manifest.csv"))
    assert main(["explain", "--model", checkpoint, *manifest, "--clip", '["c001"]', "--out", str(out)])["clips"] == 1


@pytest.mark.parametrize(("filled", "words"), [("repeat", "the clip begins again"), ("pad", "there is silence")])
@pytest.mark.parametrize("clip_s", [1.0, 2.0])
def test_the_end_of_a_short_clip_is_marked(tmp_path: Path, monkeypatch, filled: str, words: str, clip_s: float):
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).uniform(-0.5, 0.5, int(1.25 * RATE)), RATE)
    classifier = Classifier(MultiLabel(), LogMel(RATE, num_mels=32), Loud(0.0), clip_s=clip_s, short_clips=filled).eval()
    figures = []
    monkeypatch.setattr("finetune.explain.page.data_uri", lambda figure: figures.append(figure) or "data:")
    row = pd.Series({"clip_id": "x", "path": str(tmp_path / "x.wav"), "start_s": 0.0, "end_s": np.nan, "patient": "p"})
    page = render([explain_clip(classifier, row, "this test")])
    lines = [[float(x) for line in axes.lines for x in line.get_xdata()] for axes in figures[0].axes]
    short = clip_s > 1.25
    assert len(lines) == 9 and all(found == ([1.25, 1.25] if short else []) for found in lines)
    assert (f"from the clip&#39;s end at 1.25 s on, {words}" in page) is short and ("dashed" in page) is short


@pytest.mark.parametrize(
    "front_end", [LogMel(RATE, num_mels=32), BandPass(Cqt(RATE, num_bins=36)), Mfcc(RATE)], ids=lambda each: type(each).__name__
)
def test_the_maps_axes_are_seconds_and_hz(tmp_path: Path, monkeypatch, front_end: FrontEnd):
    """A tone of 200 Hz lies at the tick that says so; coefficients, which are no bands, have numbers."""
    soundfile.write(tmp_path / "x.wav", 0.3 * np.sin(2 * np.pi * 200 * np.arange(3 * RATE) / RATE), RATE)
    classifier = Classifier(MultiLabel(), front_end, Loud(0.0), clip_s=2.0).eval()
    figures = []
    monkeypatch.setattr("finetune.explain.page.data_uri", lambda figure: figures.append(figure) or "data:")
    row = pd.Series({"clip_id": "x", "path": str(tmp_path / "x.wav"), "start_s": 0.0, "end_s": np.nan, "patient": "p"})
    explained = explain_clip(classifier, row, "this test")
    render([explained])
    first = figures[0].axes[0]
    places = dict(zip([label.get_text() for label in first.get_yticklabels()], first.get_yticks(), strict=True))
    start_s = explained.maps[0].start_s
    assert first.get_xlim() == pytest.approx((start_s, start_s + 2.0)) and figures[0].axes[-1].get_xlabel() == "Time in the clip, s"
    if isinstance(front_end, Mfcc):
        assert first.get_ylabel() != "Hz"
    else:
        loudest = int(explained.maps[0].spectrogram.mean(dim=1).argmax())
        assert first.get_ylabel() == "Hz" and abs(places["200"] - loudest) <= 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--clip", '["c001"]'), "either --run"),
        (("--run", "RUN", "--clip", '["nobody"]'), "nobody is not in the manifest"),
    ],
)
def test_refuses_in_a_sentence(options, expected, finished_run, tmp_path: Path, capsys):
    words = [str(finished_run[0]) if word == "RUN" else word for word in options]
    with pytest.raises((SystemExit, UserError)):
        main(["explain", *words, "--out", str(tmp_path / "page.html")])
    assert expected in capsys.readouterr().err
