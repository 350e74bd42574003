"""``encoder.pt``: a pretrained encoder with its front end, in one file that opens alone and safely."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.described import build
from common.encoders.base import Encoder, load_weights, open_weights
from common.errors import UserError
from common.files import atomic_path
from common.frontends.base import FrontEnd

FORMAT = "auscult.encoder/1"
FAMILY = FORMAT.partition("/")[0]
PARTS = {
    "front_end": dict,
    "front_end_state": dict,
    "encoder": dict,
    "encoder_state": dict,
    "provenance": dict,
    "patients": list,
    "recordings": list,
}


@dataclass(frozen=True)
class EncoderFile:
    """What an encoder file holds.

    Attributes:
        front_end: the front end that the encoder was trained behind.
        encoder: the encoder with its weights, in evaluation mode.
        provenance: how it was made, JSON-like.
        patients: every patient that it saw, sorted; a fold that holds one of them out would be scored on a leak.
        recordings: every recording that it saw, sorted.
    """

    front_end: FrontEnd
    encoder: Encoder
    provenance: dict[str, Any]
    patients: list[str]
    recordings: list[str]


def save_encoder(
    path: str | Path,
    front_end: FrontEnd,
    encoder: Encoder,
    provenance: dict[str, Any],
    patients: Iterable[str],
    recordings: Iterable[str],
) -> None:
    """Write an encoder file, whole or not at all. Equal contents give equal bytes.

    Args:
        path: file to write.
        front_end: described by its class and arguments.
        encoder: described likewise, with its weights.
        provenance: JSON-like values (see `common.provenance.provenance`).
        patients: every patient whose recordings were seen, in any order.
        recordings: every recording that was seen, in any order.

    Raises:
        TypeError: the provenance or an argument of the two cannot be written as JSON.
    """
    contents = {
        "format": FORMAT,
        "front_end": front_end.describe(),
        "front_end_state": _on_cpu(front_end),
        "encoder": encoder.describe(),
        "encoder_state": _on_cpu(encoder),
        "provenance": json.loads(json.dumps(provenance)),
        "patients": sorted({str(patient) for patient in patients}),
        "recordings": sorted({str(recording) for recording in recordings}),
    }
    # Through a file object: given a path, torch.save writes the temporary file's name into the archive.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(contents, file)


def load_encoder(path: str | Path) -> EncoderFile:
    """Open an encoder file on the CPU without running code from it.

    Raises:
        UserError: no such file, not an encoder file, of a format that this version does not read, or its weights do not fit
            the encoder that it describes.
    """
    path = Path(path)
    contents = _read(path)
    try:
        front_end = build(contents["front_end"], FrontEnd)
        encoder = build(contents["encoder"], Encoder)
    except UserError as error:
        raise UserError(f"{path} cannot be opened: {error}") from error
    load_weights(front_end, contents["front_end_state"], str(path))
    load_weights(encoder, contents["encoder_state"], str(path))
    return EncoderFile(front_end.eval(), encoder.eval(), contents["provenance"], contents["patients"], contents["recordings"])


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"No encoder file at {path}: expected a file that 'python -m pretrain fit' wrote; check the path.")
    try:
        contents = open_weights(path)
    except UserError as error:
        raise UserError(f"{path} is not an encoder file, as 'python -m pretrain fit' writes: {error}") from error
    found = contents.get("format") if isinstance(contents, dict) else None
    if not isinstance(found, str) or found.partition("/")[0] != FAMILY:
        raise UserError(
            f"{path} is not an encoder file: it says its format is {found!r}, expected {FORMAT!r}, as 'python -m pretrain fit' writes."
        )
    if found != FORMAT:
        raise UserError(f"{path} has the format {found!r}, but this version reads {FORMAT!r}; open it with the version that wrote it.")
    for part, kind in PARTS.items():
        if not isinstance(contents.get(part), kind):
            raise UserError(f"{path} is damaged: its part {part!r} is a {type(contents.get(part)).__name__}, expected a {kind.__name__}.")
        if part.endswith("_state") and not all(isinstance(value, Tensor) for value in contents[part].values()):
            raise UserError(f"{path} is damaged: its part {part!r} holds something other than weights.")
    return contents


def _on_cpu(module: nn.Module) -> dict[str, Tensor]:
    # A clone, since a view would drag the whole storage behind it into the file.
    return {key: value.detach().to("cpu", copy=True).contiguous() for key, value in module.state_dict().items()}
