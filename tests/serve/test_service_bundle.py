"""Reading a bundle: what is served is what model.json was written for, and answers as it did when it was exported."""

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serve.bundle import read_bundle
from serve.engine import load_model
from serve.errors import StartError
from tests.serve.made_bundle import LABELS, made_bundle, write_description


def described(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "model.json").read_text(encoding="utf-8"))


def test_a_bundle_is_read_with_everything_that_is_served(bundle: Path) -> None:
    read = read_bundle(bundle, "torch")
    assert read.labels == LABELS and read.metadata is None
    assert read.version == hashlib.sha256((bundle / "model.json").read_bytes()).hexdigest()[:12]
    assert read.model == (bundle / "model.pt").read_bytes() and read.card == "# Model card\n"
    assert set(read.clips) == {"short.wav", "long.wav", "silent.wav"}


def append_to(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.write(b" ")

    return damage


def describe(**changes: Any) -> Callable[[Path], None]:
    """Other keys of model.json; a key that is None is taken out. Hashes stay as they are."""

    def damage(folder: Path) -> None:
        changed = {key: value for key, value in {**described(folder), **changes}.items() if value is not None}
        (folder / "model.json").write_text(json.dumps(changed), encoding="utf-8")

    return damage


def with_file(name: str, content: bytes) -> Callable[[Path], None]:
    """Another content, with its hash in model.json."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content)
        write_description(folder, described(folder))

    return damage


def another_answer(folder: Path) -> None:
    expected = json.loads((folder / "golden" / "expected.json").read_text(encoding="utf-8"))
    expected["clips"][1]["probabilities"][2] += 2e-4
    with_file("golden/expected.json", json.dumps(expected).encode())(folder)


def another_flag(folder: Path) -> None:
    expected = json.loads((folder / "golden" / "expected.json").read_text(encoding="utf-8"))
    expected["clips"][2]["flags"] = 0
    with_file("golden/expected.json", json.dumps(expected).encode())(folder)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "model.json").unlink(), "model.json (No such file"),
        (lambda folder: (folder / "model.json").write_bytes(b"{"), "not a JSON object"),
        (lambda folder: (folder / "model.json").write_bytes(b"[" * 100_000), "not a JSON object"),
        (lambda folder: (folder / "model.json").write_bytes(b"[]"), "not a JSON object"),
        (lambda folder: (folder / "model.pt").unlink(), "model.pt (No such file"),
        (append_to("model.pt"), "model.pt is not the file"),
        (append_to("golden/expected.json"), "expected.json is not the file"),
        (append_to("golden/long.wav"), "long.wav is not the file"),
        (append_to("MODEL_CARD.md"), "MODEL_CARD.md is not the file"),
        (describe(format="auscult.model/2"), "'auscult.model/2', expected 'auscult.model/1'"),
        (describe(thresholds=None), "lacks thresholds"),
        (describe(golden={"expected": "../other.json"}), "none of its own files"),
        (describe(golden={"expected": "golden/none.json"}), "none of its own files"),
        (with_file("model.pt", b"no archive"), "does not open with torch"),
        (another_answer, "golden clip 'long'"),
        (another_flag, "golden clip 'silent'"),
    ],
)
def test_a_bundle_that_is_not_whole_is_not_served(tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    folder = made_bundle(tmp_path / "bundle")
    load_model(folder, "torch", threads=1)
    damage(folder)
    with pytest.raises(StartError) as error:
        load_model(folder, "torch", threads=1)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_bundle_without_the_other_file_says_why(tmp_path: Path) -> None:
    folder = made_bundle(tmp_path / "bundle", onnx={"reason": "its network cannot be recorded"})
    with pytest.raises(StartError, match=r"has no model.onnx \(its network cannot be recorded\)"):
        load_model(folder, "onnx", threads=1)


def test_with_a_key_only_signed_bundles_are_served(tmp_path: Path) -> None:
    folder, key = made_bundle(tmp_path / "bundle"), tmp_path / "key"
    key.write_bytes(b"k" * 32 + b"\n")
    with pytest.raises(StartError, match="must be signed"):
        read_bundle(folder, "torch", key)
    text = (folder / "model.json").read_bytes()
    # As `finetune export --sign_key` writes it: all bytes of the key's file.
    (folder / "SIGNATURE").write_text(hmac.new(key.read_bytes(), text, hashlib.sha256).hexdigest() + "\n", encoding="utf-8")
    assert read_bundle(folder, "torch", key).labels == LABELS
    (folder / "model.json").write_bytes(text + b"\n")
    with pytest.raises(StartError, match="is not one by the --sign_key"):
        read_bundle(folder, "torch", key)
