"""A bundle's folder: the names of its files, and what model.json says of them when it is read again."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from common.audio.quality import MIN_DURATION_S
from common.errors import UserError
from common.files import sha256_file

FORMAT, FILE_TYPE = "auscult.model/1", "bundle"
GOLDEN_FORMAT = "auscult.golden/1"
MODEL, ONNX, QUALITY, PT2 = "model.pt", "model.onnx", "quality.onnx", "model.pt2"
DESCRIPTION, CARD, SIGNATURE = "model.json", "MODEL_CARD.md", "SIGNATURE"
FOLDS, GOLDEN, EXPECTED = "folds", "golden", "golden/expected.json"
# Of a probability, between the exporting machine and another.
TOLERANCE = 1e-4
# What a bundle is checked for. Below 1 kHz nothing of a wheeze's or crackle's band is left.
LIMITS = {"min_s": MIN_DURATION_S, "max_s": 600.0, "min_rate_hz": 1000, "max_rate_hz": 192000}
# Versions in which a bundle was verified: a promise, which tests/finetune/test_bundle.py keeps.
TESTED_WITH = {"torch": ["2.11", "2.13"], "onnxruntime": ["1.31"]}


@dataclass(frozen=True)
class Bundle:
    """A folder that ``finetune export`` wrote.

    Attributes:
        path: the folder.
        description: content of its model.json.
    """

    path: Path
    description: dict[str, Any]

    def check_files(self) -> int:
        """Compare every file with its hash; returns how many there are.

        Raises:
            UserError: one is missing or is not what it was, or model.json names none or one outside of the folder.
        """
        files = self.description.get("files")
        if not isinstance(files, dict) or not {MODEL, EXPECTED} <= files.keys():
            raise UserError(f"{self.path / DESCRIPTION} does not name the hashes of {MODEL} and {EXPECTED}: export the bundle again.")
        for name, wanted in files.items():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise UserError(f"{self.path / DESCRIPTION} names the file {name!r}, outside of the bundle: do not load it.")
            if not (self.path / name).is_file():
                raise UserError(f"{self.path} has no {name}, which its model.json names: copy the bundle again, whole.")
            if sha256_file(self.path / name) != wanted:
                raise UserError(f"{self.path / name} is not the file that model.json names (its SHA-256 differs): do not load it.")
        return len(files)


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle's model.json, and nothing else of it.

    Raises:
        UserError: there is no such folder, or it is no bundle.
    """
    path = Path(path)
    if not (path / DESCRIPTION).is_file():
        raise UserError(f"No bundle at {path}: expected a folder with a {DESCRIPTION}, as 'python -m finetune export' writes it.")
    try:
        description = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path / DESCRIPTION} is not JSON ({error}): copy the bundle again, whole.") from error
    found = (description.get("format"), description.get("file_type")) if isinstance(description, dict) else (None, None)
    if found != (FORMAT, FILE_TYPE):
        raise UserError(
            f"{path / DESCRIPTION} has format {found[0]!r} and file_type {found[1]!r}, expected {FORMAT!r} and {FILE_TYPE!r}: "
            "export it with this version."
        )
    return Bundle(path, description)
