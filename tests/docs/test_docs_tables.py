"""Tables of reasons, leaks, columns, files and logged names say what the code says, or what one tiny run left behind."""

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from common.audit.reasons import REASONS
from common.manifest import COLUMNS
from finetune.guard.allow import COLUMNS as ALLOW_COLUMNS
from finetune.guard.findings import KINDS
from tests.docs.pages import LABELS, ROOT, names, tables


def generic(found: Any) -> set[str]:
    """Names with the labels and numbers of folds taken out: target_wheeze -> target_<label>, role_0 -> role_<k>."""
    return {re.sub(rf"(?<=[_/])({'|'.join(LABELS)})$", "<label>", re.sub(r"^role_\d+$", "role_<k>", str(name))) for name in found}


def test_the_table_of_reasons_is_the_audit_s() -> None:
    (table,) = tables(ROOT / "docs" / "data.md", "Audit")
    assert [tuple(row) for row in table] == [(f"`{code}`", r.severity, r.action, r.meaning) for code, r in REASONS.items()]


def test_the_table_of_leaks_is_the_guard_s() -> None:
    (table,) = tables(ROOT / "docs" / "finetuning.md", "The split guard")
    assert [tuple(row) for row in table] == [(f"`{code}`", kind.severity, kind.meaning) for code, kind in KINDS.items()]


def test_the_table_of_columns_is_the_manifest_s() -> None:
    (table,) = tables(ROOT / "docs" / "data.md", "The columns of a manifest")
    assert [row[0] for row in table] == [f"`{name}`" for name in COLUMNS]
    assert {row[0].strip("`"): row[1] for row in table if row[1]} == {"start_s": "s", "end_s": "s", "sample_rate": "Hz", "duration_s": "s"}


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def header(path: Path) -> list[str]:
    return list(pd.read_csv(path, nrows=1).columns)


def test_tables_of_files_name_what_is_in_them(work: Path) -> None:
    page = ROOT / "docs" / "files.md"
    audit, finding = tables(page, "audit.json")
    written = read_json(work / "audit" / "audit.json")
    assert names(audit) == written.keys() and names(finding) == written["findings"][0].keys()
    (store,) = (work / "audit" / "store").iterdir()
    kept = {re.sub(r"-[0-9a-f]{16}\.", "-<hash>.", path.name) for path in store.iterdir()}
    assert store.name == "4000hz-051811bc" and kept == {"audio.i16", "index.parquet", "build.lock", "duplicates-<hash>.json"}
    (found,) = store.glob("duplicates-*.json")
    assert names(tables(page, "Waveform store")[1]) == read_json(found).keys()
    assert names(tables(page, "Waveform store")[0]) == set(pd.read_parquet(store / "index.parquet").columns)
    about, column, index = tables(page, "Shards")
    with tarfile.open(work / "shards" / "clips-000000.tar") as tar:
        described = tar.extractfile("0000000.json")
        assert described is not None and names(about) == json.load(described).keys()
    clips = set(pd.read_parquet(work / "shards" / "clips.parquet").columns)
    assert names(about) - {"sample_rate"} | names(column) == clips
    written = read_json(work / "shards" / "index.json")
    inside = written["table"].keys() | written["shards"][0].keys()
    assert names(index) == written.keys() and inside == {"name", "sha256", "clips", "bytes"}
    assert names(tables(page, "folds.csv")[0]) == generic(header(work / "folds.csv"))
    contents, provenance = tables(page, "encoder.pt")
    encoder = torch.load(work / "pretrain" / "encoder.pt", weights_only=True)
    assert names(contents) == encoder.keys() and names(provenance) == encoder["provenance"].keys()
    of_run, of_crossval, run_json, fold_json = tables(page, "A run's folder")
    pretraining, fold = ({path.name for path in (work / part).iterdir()} for part in ("pretrain", "run/fold-0"))
    assert names(of_run) - {"wandb/", "tensorboard/", "tracking.json"} == pretraining | fold
    assert {name.rstrip("/") for name in names(of_crossval)} | {"fold-0", "fold-1"} == {path.name for path in (work / "run").iterdir()}
    assert names(run_json) == read_json(work / "run" / "run.json").keys()
    assert names(fold_json) == read_json(work / "run" / "fold-0" / "fold.json").keys()
    assert names(tables(page, "oof.csv")[0]) == generic(header(work / "run" / "oof.csv"))
    guard, of_guard, allow_list = tables(page, "guard.json")
    written = read_json(work / "run" / "run.json")["guard"]
    assert names(guard) == written.keys() and names(of_guard) == written["findings"][0].keys()
    assert names(allow_list) == set(ALLOW_COLUMNS)
    report, metrics = tables(page, "The report")
    assert names(report) == {path.name for path in (work / "run" / "report").iterdir()}
    assert names(metrics) == read_json(work / "run" / "report" / "metrics.json").keys()
    extra = {"model.json": ""}
    torch.jit.load(str(work / "model.pt"), _extra_files=extra)
    assert names(tables(page, "model.pt")[0]) == json.loads(extra["model.json"]).keys()
    assert names(tables(page, "predictions.csv")[0]) == generic(header(work / "predictions.csv"))


@pytest.mark.parametrize(("page", "folder"), [("pretraining.md", "pretrain"), ("finetuning.md", "run/fold-0")])
def test_tables_of_metrics_name_what_is_logged(work: Path, page: str, folder: str) -> None:
    (table,) = tables(ROOT / "docs" / page, "What is logged")
    assert names(table) == generic(pd.read_csv(work / folder / "metrics.csv")["metric"].unique())


def test_the_table_of_flags_is_the_file_s(work: Path) -> None:
    extra = {"model.json": ""}
    torch.jit.load(str(work / "model.pt"), _extra_files=extra)
    table = tables(ROOT / "docs" / "export.md", "Signature")[1]
    assert {row[0]: row[1].strip("`") for row in table} == json.loads(extra["model.json"])["flags"]
