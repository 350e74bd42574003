"""The encoder file: it opens alone and safely, and says what is wrong when it does not. And how a result came to be."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from common.encoder_file import FORMAT, load_encoder, save_encoder
from common.encoders.cnn import Cnn2d
from common.encoders.timm_encoder import TimmEncoder
from common.errors import UserError
from common.files import sha256_file
from common.frontends.base import FrontEnd
from common.frontends.log_mel import LogMel
from common.provenance import git_commit, machine, provenance, versions


class Weighted(FrontEnd):
    """A front end with something learned in it."""

    sample_rate, hop, f_min_hz, f_max_hz, num_bins, min_samples = 4000, 1, 0.0, 2000.0, 1, 1

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def spectrogram(self, waveform):
        return (self.gain * waveform).unsqueeze(1)


def waveforms() -> torch.Tensor:
    return torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))


def trained_encoder() -> Cnn2d:
    """An encoder whose batch-norm has seen data."""
    torch.manual_seed(3)
    encoder = Cnn2d(channels=(4, 8))
    encoder(torch.randn(4, 1, 64, 16) + 1)
    return encoder


def write(path: Path, **changes) -> Path:
    save_encoder(path, LogMel(hop=128), trained_encoder(), {"epochs": 3}, ["b", "a", "b"], ["r2", "r1"])
    if changes:
        contents = torch.load(path, weights_only=True)
        contents.update(changes)
        torch.save(contents, path)
    return path


def test_what_was_saved_is_what_opens(tmp_path):
    loaded = load_encoder(write(tmp_path / "encoder.pt"))
    assert loaded.patients == ["a", "b"]
    assert loaded.recordings == ["r1", "r2"]
    assert loaded.provenance == {"epochs": 3}
    assert loaded.front_end.hop == 128
    assert not loaded.encoder.training and not loaded.front_end.training
    expected = trained_encoder().eval()(LogMel(hop=128)(waveforms()))
    assert torch.equal(loaded.encoder(loaded.front_end(waveforms())), expected)


def test_the_file_holds_only_what_opens_safely(tmp_path):
    contents = torch.load(write(tmp_path / "encoder.pt"), weights_only=True)
    assert contents["format"] == "auscult.encoder/1"
    assert contents["front_end"]["class_path"] == "common.frontends.log_mel.LogMel"
    assert contents["front_end_state"] == {}
    assert contents["encoder"]["init_args"] == {"channels": [4, 8], "dropout": 0.0}


def test_equal_contents_give_equal_bytes(tmp_path):
    assert sha256_file(write(tmp_path / "one.pt")) == sha256_file(write(tmp_path / "two.pt"))


def test_state_of_a_front_end_that_learns(tmp_path):
    front_end = Weighted()
    nn.init.constant_(front_end.gain, 2.5)
    save_encoder(tmp_path / "encoder.pt", front_end, Cnn2d(), {}, [], [])
    assert load_encoder(tmp_path / "encoder.pt").front_end.gain.item() == 2.5


def test_timm_encoder_opens_without_its_first_weights(tmp_path):
    torch.save(TimmEncoder("mobilenetv3_small_050").model.state_dict(), tmp_path / "first.pt")
    encoder = TimmEncoder("mobilenetv3_small_050", weights=str(tmp_path / "first.pt")).eval()
    save_encoder(tmp_path / "encoder.pt", LogMel(), encoder, {}, [], [])
    (tmp_path / "first.pt").unlink()
    spectrogram = torch.randn(1, 1, 64, 64)
    assert torch.equal(load_encoder(tmp_path / "encoder.pt").encoder(spectrogram), encoder(spectrogram))


def test_views_of_larger_tensors_do_not_swell_the_file(tmp_path):
    encoder = Cnn2d(channels=(4, 8))
    encoder.blocks[0][0].weight.data = torch.zeros(1_000_000)[: 4 * 2 * 9].view(4, 2, 3, 3)
    save_encoder(tmp_path / "encoder.pt", LogMel(), encoder, {}, [], [])
    assert (tmp_path / "encoder.pt").stat().st_size < 50_000


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = write(tmp_path / "encoder.pt")
    before = sha256_file(path)
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_encoder(path, LogMel(), Cnn2d(), {"when": object()}, [], [])
    assert sha256_file(path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["encoder.pt"]


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_encoder(path)
    text = str(caught.value)
    assert "\n" not in text and path.name in text
    return text


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken", "cut"])
def test_files_that_torch_cannot_open(tmp_path, content):
    path = tmp_path / "encoder.pt"
    if content == "cut":
        content = write(path).read_bytes()[:2000]
    path.write_bytes(content)
    assert "is not an encoder file" in refusal(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_refused_in_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.pt"
    path.write_bytes(content)
    assert "is not an encoder file" in refusal(path)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"format": FORMAT, "encoder": Cnn2d()}, tmp_path / "encoder.pt")
    assert "is not an encoder file" in refusal(tmp_path / "encoder.pt")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "auscult.model/1"}, "format is 'auscult.model/1', expected 'auscult.encoder/1'"),
        ({"format": None}, "format is None"),
        ({"format": "auscult.encoder/2"}, "this version reads 'auscult.encoder/1'"),
        ({"patients": None}, "part 'patients' is a NoneType, expected a list"),
        ({"encoder_state": {"a": 1}}, "part 'encoder_state' holds something other than weights"),
        ({"encoder_state": {}}, "do not fit this Cnn2d: it lacks blocks.0"),
        ({"encoder": {"class_path": "common.encoders.cnn.Cnn3d", "init_args": {}}}, "Unknown class 'common.encoders.cnn.Cnn3d'"),
        ({"encoder": {"class_path": "common.frontends.log_mel.LogMel", "init_args": {}}}, "LogMel is not a Encoder"),
        ({"encoder": {"class_path": "common.encoders.cnn.Cnn2d", "init_args": {"channels": [4, 16]}}}, "expected (16, 4, 3, 3)"),
        ({"encoder": {"class_path": "common.encoders.cnn.Cnn2d", "init_args": {"width": 2}}}, "unexpected keyword argument 'width'"),
        ({"front_end": {"class_path": "common.frontends.log_mel.LogMel", "init_args": {"hop": 0}}}, "hop is 0"),
    ],
)
def test_wrong_contents_are_named(tmp_path, changes, reason):
    assert reason in refusal(write(tmp_path / "encoder.pt", **changes))


def test_other_things_that_torch_saves(tmp_path):
    torch.save(Cnn2d().state_dict(), tmp_path / "state.pt")
    assert "format is None" in refusal(tmp_path / "state.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    assert "format is None" in refusal(tmp_path / "list.pt")
    assert "No encoder file at" in refusal(tmp_path / "nowhere.pt")
    assert "No encoder file at" in refusal(tmp_path)


# Provenance.


def test_provenance_is_json_and_names_no_host_and_no_path():
    text = json.dumps(provenance())
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text and str(Path.cwd()) not in text
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$", provenance()["time"])


def test_versions_are_those_installed():
    assert versions()["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions()["torch"] == torch.__version__.partition("+")[0] or versions()["torch"] == torch.__version__
    assert "nnAudio" in versions()


def test_machine():
    found = machine()
    assert found["cpu_count"] >= 1 and found["cpu"]
    assert len(found["gpus"]) == torch.cuda.device_count()


def test_git_commit_of_a_checkout_with_and_without_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as inside a hook of another checkout
    assert git_commit(tmp_path) is None
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, env=clean, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    assert git_commit(tmp_path) is None  # no commit yet
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "One")
    (tmp_path / "untracked").write_text("data")
    assert git_commit(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "file").write_text("two")
    assert git_commit(tmp_path) == git("rev-parse", "HEAD") + "-dirty"


def test_git_commit_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() is None
