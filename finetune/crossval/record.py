"""run.json: what a run was made of, by which it is read later and refused when that has changed."""

import json
from typing import Any

from common.errors import UserError
from common.files import sha256_file, write_csv, write_json
from common.manifest import has_patients
from common.provenance import provenance
from finetune.crossval.plan import Plan
from finetune.folds.table import folds_hash, scheme_record
from finetune.guard.guard import Verdict
from finetune.run_folder import FOLDS, FORMAT, RECORD


def check_record(plan: Plan) -> None:
    """Refuse to go on with other data than the run began with."""
    path = plan.run / RECORD
    if not path.is_file():
        return
    now, earlier = run_record(plan), json.loads(path.read_text(encoding="utf-8"))
    for what, one, other in (
        ("manifest's clips or labels", earlier["data_hash"], now["data_hash"]),
        ("folds", earlier["folds_hash"], now["folds_hash"]),
        ("encoder's file", earlier["encoder"]["sha256"], now["encoder"]["sha256"]),
        ("annotated events", earlier.get("events_hash"), now.get("events_hash")),
    ):
        if one != other:
            raise UserError(
                f"The {what} changed since the run in {plan.run} began: choose another --out, or remove the folder to start over."
            )


def write_record(plan: Plan, verdict: Verdict) -> None:
    """Write run.json and folds.csv; of a run that goes on, renew only what the guard says."""
    path = plan.run / RECORD
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
    else:
        record = run_record(plan)
        write_csv(plan.run / FOLDS, plan.folds)
    write_json(path, {**record, "guard": verdict.as_json()})


def run_record(plan: Plan) -> dict[str, Any]:
    """The content of run.json."""
    files = sorted({str(file) for fold in range(plan.num_folds) if (file := plan.encoder.file(fold)) is not None})
    return {
        "format": FORMAT,
        "manifest": plan.manifest,
        "task": plan.task.describe(),
        "sample_rate": plan.sample_rate,
        "clip_s": plan.clip_s,
        "grouped_by": "patient" if has_patients(plan.table) else "recording",
        "encoder": {
            "source": plan.encoder.source,
            "transductive": plan.transductive,
            "file": str(plan.encoder.location) if plan.encoder.location else None,
            "sha256": [sha256_file(file) for file in files],
        },
        **provenance(),
        "data_hash": plan.task.data_hash(plan.table, plan.inputs),
        "split": scheme_record(plan.config["data"]["folds"]),
        "folds_hash": folds_hash(plan.folds),
        "seed": plan.config["seed_everything"],
        **plan.more,
    }
