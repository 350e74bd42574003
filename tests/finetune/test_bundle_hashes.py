"""A bundle is refused when a byte of it changed, or its description does not fit, before any file is opened."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from made_bundle_scripts import rehash
from refusals import refusal

from finetune.__main__ import main

KEY = bytes(range(32))


def test_nothing_is_opened_before_its_hash_fits(bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled = bytearray((bundle / "model.onnx").read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(spoiled)
    monkeypatch.setattr("torch.jit.load", lambda *_, **__: pytest.fail("a file was opened"))
    assert "model.onnx is not the file that model.json names" in refusal(capsys, ["verify", "--bundle", str(bundle)])
    out = str(bundle.parent / "predictions.csv")
    recording = str(bundle / "golden" / "long.wav")
    assert "model.onnx is not the file" in refusal(capsys, ["predict", "--model", str(bundle), "--input", recording, "--out", out])


def test_only_a_key_finds_a_change_that_was_hashed_again(bundle: Path, exported: tuple[Path, dict[str, Any]], capsys: Any) -> None:
    key = exported[0].parent / "key"
    signed = hmac.new(KEY, (bundle / "model.json").read_bytes(), hashlib.sha256).hexdigest()
    assert (bundle / "SIGNATURE").read_text().strip() == signed
    (bundle / "MODEL_CARD.md").write_text("It is a diagnosis.")
    rehash(bundle)
    assert main(["verify", "--bundle", str(bundle)])["signature"] == "not checked"
    capsys.readouterr()
    assert "not one by this key" in refusal(capsys, ["verify", "--bundle", str(bundle), "--key", str(key)])
    (bundle / "SIGNATURE").unlink()
    assert "has no SIGNATURE" in refusal(capsys, ["verify", "--bundle", str(bundle), "--key", str(key)])


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
    assert said in refusal(capsys, ["verify", "--bundle", str(bundle)])
