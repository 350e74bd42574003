"""The picture of pairs of views: there once, the same each time, and without a trace in the run."""

import io
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch

from common.encoder_file import load_encoder
from common.frontends import Cqt, Gammatone, LogMel, Mfcc
from pretrain.monitor.views import ViewPictures, draw_views


def test_a_run_draws_its_views_once_and_is_not_changed_by_it(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.monitor.views.CLIPS", 6)
    fit(tmp_path / "one")
    fit(tmp_path / "two")
    picture = (tmp_path / "one" / "views.png").read_bytes()
    assert picture == (tmp_path / "two" / "views.png").read_bytes()
    height, width, _ = matplotlib.image.imread(io.BytesIO(picture), format="png").shape
    assert 300 < height < 900 and 700 < width < 900
    monkeypatch.setattr(ViewPictures, "on_train_batch_start", lambda *_: None)
    fit(tmp_path / "without")
    assert not (tmp_path / "without" / "views.png").exists()
    assert (tmp_path / "one" / "metrics.csv").read_text() == (tmp_path / "without" / "metrics.csv").read_text()
    weights = [load_encoder(tmp_path / run / "encoder.pt").encoder.state_dict() for run in ("one", "without")]
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_the_picture_goes_to_wandb_where_it_is_on(fit: Any, tmp_path: Path) -> None:
    fit(tmp_path / "run", "--tracking.wandb", "offline")
    assert list((tmp_path / "run" / "wandb").glob("*/files/media/images/views*.png"))


@pytest.mark.parametrize("front_end", [LogMel(num_mels=16), Gammatone(num_filters=16), Cqt(), Mfcc()])
def test_bins_know_their_frequencies_where_they_have_one(front_end: Any) -> None:
    """A sine is loudest in the bin that names its frequency."""
    time = torch.arange(8000) / front_end.sample_rate
    if front_end.bin_hz is None:
        assert isinstance(front_end, Mfcc)
    else:
        assert front_end.bin_hz.shape == (front_end.num_bins,)
        for bin in (3, front_end.num_bins // 2, front_end.num_bins - 2):
            sine = 0.5 * torch.sin(2 * torch.pi * front_end.bin_hz[bin] * time)
            assert front_end(sine.unsqueeze(0))[0, 0].mean(dim=-1).argmax() == bin
    views = front_end(torch.randn(4, 4000)).numpy()
    assert draw_views(views, ["a clip", "another" * 20], front_end).startswith(b"\x89PNG")


def test_both_views_of_a_clip_stand_in_its_row() -> None:
    """First views are dark and second views bright: the left half of the picture is, and the right."""
    views = np.zeros((6, 1, 16, 20), np.float32)
    views[3:] = 1
    image = matplotlib.image.imread(io.BytesIO(draw_views(views, list("abc"), LogMel(num_mels=16))), format="png")[..., :3].mean(axis=2)
    middle = image[image.shape[0] // 2]
    assert middle[len(middle) // 4] < 0.1 and middle[3 * len(middle) // 4] > 0.7
