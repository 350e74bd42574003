"""A bundle is written whole or not at all, and replaces nothing but another."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_bundle_scripts import run_script
from refusals import refusal

from finetune.__main__ import main


def test_export_replaces_a_bundle_whole_and_nothing_else(
    bundle: Path, exported_run: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = ["export", "--run", str(exported_run), "--per_fold", "false", "--out"]
    before = (bundle / "model.json").read_bytes()
    mine = bundle.parent / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep me")
    assert "is no bundle" in refusal(capsys, [*export, str(mine)])
    # The exporter is slow, and another test's; the disk is full once the model is there.
    monkeypatch.setattr("finetune.export.bundle.write_twins", lambda *_: {"onnx": {"reason": "left out"}, "pt2": {"reason": "left out"}})
    with monkeypatch.context() as patch:
        patch.setattr("finetune.export.bundle.write_golden", full_disk)
        assert "has room" in refusal(capsys, [*export, str(bundle)])
    assert (bundle / "model.json").read_bytes() == before and {path.name for path in bundle.parent.iterdir()} == {"bundle", "mine"}
    figures = main([*export, str(bundle)])
    assert figures["fold_models"] == [] and figures["onnx"] is None and not (bundle / "folds").exists()
    assert {path.name for path in bundle.parent.iterdir()} == {"bundle", "mine"} and not (bundle / "SIGNATURE").exists()
    found = main(["verify", "--bundle", str(bundle)])
    assert found["onnx"] is None and found["onnx_reason"] == "left out" and found["signature"] == "none"
    assert "this bundle has no model.onnx: left out" in run_script(bundle / "verify_onnx.py").stderr


def full_disk(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_without_the_extra_there_is_a_reason_in_place_of_the_file(
    exported_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.export.twins.ONNX_PACKAGES", ("onnx", "no_such_package"))
    figures = main(["export", "--run", str(exported_run), "--out", str(tmp_path / "bundle"), "--per_fold", "false"])
    described = json.loads((tmp_path / "bundle" / "model.json").read_text())
    assert figures["onnx"] is None and "no_such_package was not installed" in described["onnx"]["reason"]
    assert not (tmp_path / "bundle" / "model.onnx").exists() and (tmp_path / "bundle" / described["pt2"]["file"]).is_file()
