"""Write a bundle: model, twins, golden clips, scripts that check them, and what must be known of the model."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import finetune.bundle
from common.errors import UserError
from common.files import atomic_folder, sha256_file, write_json, write_text
from common.progress import say
from common.provenance import PACKAGES, code_hash, versions
from finetune.bundle.contents import (
    CARD,
    DESCRIPTION,
    EXPECTED,
    FILE_TYPE,
    FOLDS,
    LIMITS,
    MODEL,
    TESTED_WITH,
    TOLERANCE,
    read_bundle,
)
from finetune.bundle.signature import sign
from finetune.evaluation.result import Evaluation
from finetune.export.abstaining import abstaining
from finetune.export.bundle_card import bundle_card
from finetune.export.golden import write_golden
from finetune.export.reduced.write import Wanted, write_reduced
from finetune.export.training_data import groups, population, reference
from finetune.export.twins import ONNX_PACKAGES, write_twins
from finetune.export.write import Exported, write_files
from finetune.run_folder import RunFolder

SCRIPTS = ("verify_torch.py", "verify_onnx.py")


def check_place(out: Path) -> None:
    """Refuse to replace what is no bundle.

    Raises:
        UserError: there is a file, or a folder that is neither empty nor a bundle.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        try:
            read_bundle(out)
        except UserError as error:
            raise UserError(f"{out} is there and is no bundle: give a new folder, or one that 'export' wrote before.") from error


def write_bundle(
    out: Path, exported: Exported, run: RunFolder, evaluation: Evaluation, single: list[int], kept: float, key: bytes | None, wanted: Wanted
) -> tuple[dict[str, Any], float]:
    """Write the bundle to ``out``, whole or not at all; see docs/bundle.md for what is in it.

    Args:
        out: folder, see `check_place`.
        exported: the networks.
        run: that they are of.
        evaluation: of the run's out-of-fold predictions.
        single: folds that get a file of their own.
        kept: sensitivity and specificity that the abstain bands keep.
        key: to sign with; None leaves the bundle unsigned.
        wanted: which twins in fewer bits.

    Returns:
        Its model.json, and the largest difference to the eager model that was seen in any TorchScript file.
    """
    folds, manifest = list(evaluation.folds), run.manifest()
    if manifest is None:
        say(f"WARNING: the run's manifest {run.record.get('manifest')} is not there: the bundle says little of its training population.")
    with atomic_folder(out) as folder:
        fold_files = {folder / FOLDS / f"fold-{fold}.pt": [fold] for fold in single}
        file, description, parity = write_files(exported, {folder / MODEL: folds, **fold_files}, abstaining(evaluation, kept))
        say("Recording the graph of model.onnx and model.pt2.")
        twins = write_twins(folder, file, exported.eager(folds), exported.metadata)
        write_golden(folder, file)
        reduced = write_reduced(folder, exported, run, evaluation, twins["onnx"], wanted)
        for script in SCRIPTS:
            shutil.copyfile(Path(finetune.bundle.__file__).with_name(script), folder / script)
        description |= {
            "file_type": FILE_TYPE,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "limits": LIMITS,
            **twins,
            "twins": reduced,
            "golden": {"expected": EXPECTED, "tolerance": TOLERANCE},
            "tested_with": TESTED_WITH,
            "exported_with": versions([*PACKAGES, *ONNX_PACKAGES]),
            "reference": reference(evaluation.predictions, manifest),
            "population": population(evaluation.predictions, manifest),
            "groups": groups(evaluation, manifest),
            "folds_hash": run.record.get("folds_hash"),
            "code_hash": code_hash(*(Path(finetune.__file__).parents[1] / name for name in ("common", "finetune"))),
        }
        write_text(folder / CARD, bundle_card(description))
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        description["files"] = {name: sha256_file(folder / name) for name in names}
        write_json(folder / DESCRIPTION, description)
        if key is not None:
            sign(folder, key)
    for name, about in {**twins, **reduced}.items():
        if "reason" in about:
            say(f"WARNING: {out} has no {name} file: {about['reason']}.")
    return description, parity
