"""The bundle: whole or not there, the same answers from every kind of file, and refused when a byte of it changed."""

import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from common.audio.quality import CONSTANT, NOT_FINITE, SILENT, TOO_SHORT
from finetune.__main__ import main
from finetune.bundle.contents import TESTED_WITH
from finetune.export.metadata import metadata
from finetune.run_folder import read_run_folder
from tests.docs.pages import ROOT, names, tables

RATE = 4000
KEY = bytes(range(32))
# What a script must not need: that of torch, and that of onnxruntime.
NEITHER = ("common", "finetune", "torchaudio", "nnAudio", "timm", "pytorch_lightning", "sklearn", "pandas", "scipy", "soundfile", "onnx")
BLOCKED = {"verify_torch.py": (*NEITHER, "onnxruntime", "numpy"), "verify_onnx.py": (*NEITHER, "torch")}
ONLY = """
import runpy, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is not there")

sys.meta_path.insert(0, Blocked())
sys.argv = [{script!r}]
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.fixture
def bundle(exported: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(exported[0], tmp_path / "bundle")


@pytest.fixture(scope="module")
def described(exported: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    return json.loads((exported[0] / "model.json").read_text())


@pytest.fixture(scope="module")
def answers(exported: tuple[Path, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What the three kinds of file answer: name -> function of a waveform [B, T] and lengths [B]."""
    file = torch.jit.load(str(exported[0] / "model.pt"))
    session = onnxruntime.InferenceSession(str(exported[0] / "model.onnx"), providers=["CPUExecutionProvider"])
    program = torch.export.load(exported[0] / "model.pt2").module()

    def onnx(waveform: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        found = session.run(["probabilities", "flags"], {"waveform": waveform.numpy(), "lengths": lengths.numpy()})
        return [torch.from_numpy(value) for value in found]

    with torch.inference_mode():
        yield {"pt": lambda waveform, lengths: file(waveform, RATE, lengths), "onnx": onnx, "pt2": program}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def run_script(path: Path, interpreter: str = sys.executable, blocked: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one of the bundle's scripts in a process of its own, in which what it must not need cannot be imported."""
    code = ["-c", ONLY.format(blocked=BLOCKED[path.name], script=str(path))] if blocked else [str(path)]
    command = [interpreter, "-W", "ignore", *code]
    return subprocess.run(command, cwd=path.parent.parent, capture_output=True, text=True, timeout=240, check=False)


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(list(args))
    assert stopped.value.code == 1
    return capsys.readouterr().err


def test_it_verifies_with_every_runtime(exported: tuple[Path, dict[str, Any]]) -> None:
    bundle, figures = exported
    assert figures["onnx"] <= 1e-5 and figures["pt2"] <= 1e-5 and figures["parity"] <= 1e-5
    found = main(["verify", "--bundle", str(bundle), "--key", str(bundle.parent / "key")])
    assert found["signature"] == "valid" and found["files"] == len(json.loads((bundle / "model.json").read_text())["files"])
    assert (found["torch"]["clips"], found["onnx"]["clips"], found["onnx"]["at_other_rates"]) == (7, 5, 2)
    assert found["torch"]["largest_difference"] <= 1e-6 and found["onnx"]["largest_difference"] <= 1e-5
    # The words of issue trackers and shells: without an option's name.
    assert main(["verify", str(bundle)])["signature"] == "not checked"


def test_docs_name_every_file_and_every_key(exported: tuple[Path, dict[str, Any]], described: dict[str, Any]) -> None:
    page = ROOT / "docs" / "bundle.md"
    inside = names(tables(ROOT / "docs" / "files.md", "model.pt")[0])
    of_bundle, of_reference = tables(page, "model.json")
    assert names(of_bundle) - {"labels"} == described.keys() - inside and inside <= described.keys()
    assert names(of_reference) == described["reference"].keys()
    listed = names(tables(page, "Contents")[0])
    there = {path.relative_to(exported[0]).as_posix() for path in exported[0].rglob("*") if path.is_file()}
    spelt = {"golden/NAME.wav" if name.endswith(".wav") else name.replace("fold-0", "fold-K") for name in there}
    assert spelt - listed == {"folds/fold-1.pt"}
    assert listed - {"golden/NAME.wav", "folds/fold-K.pt"} <= there
    assert described["files"].keys() == there - {"model.json", "SIGNATURE"}
    clip = json.loads((exported[0] / "golden" / "expected.json").read_text())["clips"][0]
    assert names(tables(page, "Golden clips")[0]) == clip.keys()
    assert names(tables(page, "model.onnx")[0]) >= {given["name"] for given in described["onnx"]["inputs"]}


def test_model_json_says_what_a_service_needs(exported: tuple[Path, dict[str, Any]], described: dict[str, Any]) -> None:
    labels = ["normal", "wheeze", "crackle"]
    assert described["format"] == "auscult.model/1" and described["file_type"] == "bundle"
    assert described["labels"] == labels and described["onnx"]["sample_rate"] == described["sample_rate"] == RATE
    assert described["onnx"]["outputs"][0] == {"name": "probabilities", "type": "float32", "shape": ["B", 3]}
    for label in labels:
        low, high = described["abstain"][label]
        assert 0 <= low <= high <= 1
        assert sum(described["reference"]["probabilities"][label]) == described["reference"]["clips"] == 48
    assert described["reference"]["flags"]["silent"] == 0 and described["reference"]["flagged_clips"] == 48
    assert described["population"]["patients"] == 12 and described["population"]["labels"]["crackle"]["unknown"] == 2
    assert {of["column"] for of in described["groups"]} == {"age_group", "sex"}
    assert described["population"]["columns"]["sex"]["M"] == {"clips": 24, "patients": 6}
    card = (exported[0] / "MODEL_CARD.md").read_text()
    assert "not a diagnosis" in card and "48 clips of 48 recordings of 12 patients" in card
    some = next(of for of in described["groups"] if of["column"] == "sex" and of["auroc"] is not None)
    assert f"{some['auroc']:.3f} ({some['interval'][0]:.3f} to {some['interval'][1]:.3f})" in card


def test_the_bundle_keeps_no_path_of_the_machine_that_wrote_it(exported: tuple[Path, dict[str, Any]]) -> None:
    for name in ("model.onnx", "model.pt2", "golden/expected.json", "MODEL_CARD.md"):
        assert str(ROOT).encode() not in (exported[0] / name).read_bytes(), name


@pytest.mark.parametrize(
    ("lay_in", "kept"), [("/home/somebody/encoders/fold-0/encoder.pt", "encoder.pt"), ("work/encoders", "encoders"), (None, None)]
)
def test_it_names_the_encoder_file_without_its_folders(finished_run: tuple[Path, dict], lay_in: str | None, kept: str | None) -> None:
    run = read_run_folder(finished_run[0])
    encoder = {"source": "shared", "transductive": False, "file": lay_in, "sha256": ["ab" * 32]}
    thresholds = {"thresholds": [0.5] * 3, "rule": "youden"}
    described = metadata(replace(run, record={**run.record, "encoder": encoder}), [0], thresholds, {}, {}, {}, 0.0, {}, None)
    assert described["encoder"] == {**encoder, "file": kept}


@pytest.mark.parametrize("lengths", [[400], [1], [RATE], [RATE + 1, 3], [9000, 400, 4000, 1], [60 * RATE, 7], [600 * RATE]], ids=str)
def test_each_kind_of_file_answers_any_batch_of_any_length(answers: dict[str, Any], lengths: list[int]) -> None:
    waveform = noise(len(lengths), max(lengths), seed=len(lengths))
    expected, flags = answers["pt"](waveform, torch.tensor(lengths))
    for kind in ("onnx", "pt2"):
        answered, answered_flags = answers[kind](waveform, torch.tensor(lengths))
        torch.testing.assert_close(answered, expected, atol=1e-5, rtol=0)
        assert torch.equal(answered_flags, flags), kind


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_faults_are_flagged_by_each_kind_of_file(answers: dict[str, Any], kind: str) -> None:
    waveform = noise(5, 2 * RATE)
    waveform[1], waveform[2], waveform[3, 100] = 0.0, 0.25, torch.nan
    lengths = torch.tensor([2 * RATE] * 4 + [RATE // 20])
    expected, _ = answers["pt"](waveform, lengths)
    answered, flags = answers[kind](waveform, lengths)
    assert flags.tolist() == [0, SILENT, CONSTANT, NOT_FINITE, TOO_SHORT]
    torch.testing.assert_close(answered, expected, atol=1e-5, rtol=0)
    # What lies beyond a length, and the other rows, must not count.
    waveform[4, RATE // 20 :] = 9.0
    torch.testing.assert_close(answers[kind](waveform[4:], lengths[4:])[0], answered[4:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("script", BLOCKED)
def test_its_scripts_need_one_library_and_find_a_changed_file(bundle: Path, script: str) -> None:
    done = run_script(bundle / script)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["largest_difference"] <= 1e-4 and found["clips"] == (7 if script == "verify_torch.py" else 5)
    with (bundle / "MODEL_CARD.md").open("a") as card:
        card.write("It is a diagnosis.")
    done = run_script(bundle / script)
    assert done.returncode == 1 and "MODEL_CARD.md is not the file" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("script", BLOCKED)
def test_its_scripts_find_another_answer(bundle: Path, script: str) -> None:
    expected = bundle / "golden" / "expected.json"
    changed = json.loads(expected.read_text())
    changed["clips"][1]["probabilities"][0] += 3e-4
    expected.write_text(json.dumps(changed))
    rehash(bundle)
    done = run_script(bundle / script)
    assert done.returncode == 1 and "answers window with a difference of 3.0e-04" in done.stderr and "Traceback" not in done.stderr


def test_another_torch_verifies_it(exported: tuple[Path, dict[str, Any]]) -> None:
    other = os.environ.get("AUSCULT_OTHER_TORCH")
    if not other:
        pytest.skip("needs AUSCULT_OTHER_TORCH, the path of an interpreter with another version of torch")
    done = run_script(exported[0] / "verify_torch.py", other, blocked=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["torch"]
    assert found != torch.__version__ and any(found.startswith(f"{kept}.") for kept in TESTED_WITH["torch"])


def test_the_promise_names_the_versions_that_run_here() -> None:
    for package, versions in TESTED_WITH.items():
        assert ".".join(version(package).split(".")[:2]) in versions


def rehash(bundle: Path) -> None:
    """What somebody does who changes a file and knows how hashes work."""
    described = json.loads((bundle / "model.json").read_text())
    described["files"] = {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in described["files"]}
    (bundle / "model.json").write_text(json.dumps(described))


def test_nothing_is_opened_before_its_hash_fits(bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled = bytearray((bundle / "model.onnx").read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(spoiled)
    monkeypatch.setattr("torch.jit.load", lambda *_, **__: pytest.fail("a file was opened"))
    assert "model.onnx is not the file that model.json names" in refused(capsys, "verify", "--bundle", str(bundle))
    out = str(bundle.parent / "predictions.csv")
    recording = str(bundle / "golden" / "long.wav")
    assert "model.onnx is not the file" in refused(capsys, "predict", "--model", str(bundle), "--input", recording, "--out", out)


def test_only_a_key_finds_a_change_that_was_hashed_again(bundle: Path, exported: tuple[Path, dict[str, Any]], capsys: Any) -> None:
    key = exported[0].parent / "key"
    signed = hmac.new(KEY, (bundle / "model.json").read_bytes(), hashlib.sha256).hexdigest()
    assert (bundle / "SIGNATURE").read_text().strip() == signed
    (bundle / "MODEL_CARD.md").write_text("It is a diagnosis.")
    rehash(bundle)
    assert main(["verify", "--bundle", str(bundle)])["signature"] == "not checked"
    capsys.readouterr()
    assert "not one by this key" in refused(capsys, "verify", "--bundle", str(bundle), "--key", str(key))
    (bundle / "SIGNATURE").unlink()
    assert "has no SIGNATURE" in refused(capsys, "verify", "--bundle", str(bundle), "--key", str(key))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda described: described["files"].update({"../secret": "0" * 64}), "outside of the bundle"),
        (lambda described: described["files"].pop("model.pt"), "does not name the hashes"),
        (lambda described: described["files"].update({"more.txt": "0" * 64}), "has no more.txt"),
        (lambda described: described.update(format="auscult.model/9"), "export it with this version"),
    ],
    ids=["outside", "unnamed", "missing", "format"],
)
def test_a_description_that_does_not_fit_is_refused(bundle: Path, capsys: Any, spoil: Any, said: str) -> None:
    described = json.loads((bundle / "model.json").read_text())
    spoil(described)
    (bundle / "model.json").write_text(json.dumps(described))
    assert said in refused(capsys, "verify", "--bundle", str(bundle))


def test_export_replaces_a_bundle_whole_and_nothing_else(
    bundle: Path, finished_run: tuple[Path, dict], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = ["export", "--run", str(finished_run[0]), "--per_fold", "false", "--out"]
    before = (bundle / "model.json").read_bytes()
    mine = bundle.parent / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep me")
    assert "is no bundle" in refused(capsys, *export, str(mine))
    # The exporter is slow, and another test's; the disk is full once the model is there.
    monkeypatch.setattr("finetune.export.bundle.write_twins", lambda *_: {"onnx": {"reason": "left out"}, "pt2": {"reason": "left out"}})
    with monkeypatch.context() as patch:
        patch.setattr("finetune.export.bundle.write_golden", full_disk)
        assert "has room" in refused(capsys, *export, str(bundle))
    assert (bundle / "model.json").read_bytes() == before and {path.name for path in bundle.parent.iterdir()} == {"bundle", "mine"}
    figures = main([*export, str(bundle)])
    assert figures["fold_models"] == [] and figures["onnx"] is None and not (bundle / "folds").exists()
    assert {path.name for path in bundle.parent.iterdir()} == {"bundle", "mine"} and not (bundle / "SIGNATURE").exists()
    found = main(["verify", "--bundle", str(bundle)])
    assert found["onnx"] is None and found["onnx_reason"] == "left out" and found["signature"] == "none"
    assert "this bundle has no model.onnx: left out" in run_script(bundle / "verify_onnx.py").stderr


def full_disk(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_predict_takes_a_bundle(exported: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    for name in ("bundle", "bundle/model.pt"):
        recording = str(exported[0] / "golden" / "long.wav")
        main(["predict", "--model", str(exported[0].parent / name), "--input", recording, "--out", str(tmp_path / Path(name).name)])
    assert (tmp_path / "bundle").read_text() == (tmp_path / "model.pt").read_text()


def test_golden_clips_are_pcm_of_several_rates_and_lengths(exported: tuple[Path, dict[str, Any]]) -> None:
    golden = json.loads((exported[0] / "golden" / "expected.json").read_text())
    durations, rates = [], set()
    for clip in golden["clips"]:
        with wave.open(str(exported[0] / "golden" / clip["file"])) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, clip["sample_rate"])
            assert file.getnframes() == clip["samples"]
            durations.append(file.getnframes() / file.getframerate())
            rates.add(file.getframerate())
    assert min(durations) < 1.0 < max(durations) and rates == {RATE, 8000, 44100}
    flagged = {clip["name"]: clip["flags"] for clip in golden["clips"] if clip["flags"]}
    assert flagged == {"silence": SILENT, "nan": NOT_FINITE}
    # Answers that were all alike would find no change.
    assert np.ptp([clip["probabilities"] for clip in golden["clips"]], axis=0).max() > 0.05


def test_without_the_extra_there_is_a_reason_in_place_of_the_file(
    finished_run: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.export.twins.ONNX_PACKAGES", ("onnx", "no_such_package"))
    figures = main(["export", "--run", str(finished_run[0]), "--out", str(tmp_path / "bundle"), "--per_fold", "false"])
    described = json.loads((tmp_path / "bundle" / "model.json").read_text())
    assert figures["onnx"] is None and "no_such_package was not installed" in described["onnx"]["reason"]
    assert not (tmp_path / "bundle" / "model.onnx").exists() and (tmp_path / "bundle" / described["pt2"]["file"]).is_file()
