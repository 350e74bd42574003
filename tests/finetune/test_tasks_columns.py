"""Class columns: what is read from them, what they refuse, and that folds, guard and shuffling go by them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_classes import arguments, draw, write_classed
from refusals import refusal

from common.__main__ import main as prepare
from common.manifest import read_manifest, write_manifest
from finetune.__main__ import main


@pytest.fixture(scope="module")
def classed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classed(tmp_path_factory.mktemp("classed"), made)


@pytest.mark.parametrize(
    ("task", "column"), [("sprsound_2_1", "record_class"), ("icbhi_diagnosis_groups", "diagnosis"), ("icbhi_4class", "wheeze")]
)
@pytest.mark.parametrize("command", ["fit", "crossval"])
def test_what_a_class_is_read_from_is_no_metadata(classed: Path, tmp_path: Path, capsys: Any, command: str, task: str, column: str) -> None:
    out = tmp_path / "run"
    metadata = ["--model.metadata=finetune.metadata.Metadata", f"--model.metadata.init_args.categories=[{column}]"]
    err = refusal(capsys, [command, *arguments(classed, task, out, *metadata)])
    assert f"model.metadata names '{column}', which the task's labels are or are read from" in err
    assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1 and not out.exists()
    # A column that is neither is taken.
    main(["fit", *arguments(classed, task, out, metadata[0], metadata[1].replace(column, "sex"), "--trainer.fast_dev_run", "true")])


def test_a_value_that_no_class_names_stops_a_run_before_it_trains(classed: Path, tmp_path: Path, capsys: Any) -> None:
    table = pd.read_csv(classed / "manifest.csv", keep_default_na=False)
    table.loc[3, "diagnosis"] = "Flu"
    table.to_csv(tmp_path / "manifest.csv", index=False)
    args = arguments(classed, "icbhi_diagnosis_all", tmp_path / "run")
    args[args.index("--data.manifest") + 1] = str(tmp_path / "manifest.csv")
    assert "column 'diagnosis' is 'Flu' for 1 clips" in refusal(capsys, ["crossval", *args])
    assert not (tmp_path / "run").exists()
    table.drop(columns="diagnosis").to_csv(tmp_path / "manifest.csv", index=False)
    assert "no class column 'diagnosis'" in refusal(capsys, ["crossval", *args])


def test_numbers_are_classes_whatever_the_table_makes_of_them(classed: Path, tmp_path: Path) -> None:
    table = read_manifest(classed / "manifest.csv")
    table["disease_category"] = table["disease_category"].astype(float)
    table.loc[0, "disease_category"] = np.nan
    for name in ("manifest.csv", "manifest.parquet"):
        write_manifest(tmp_path / name, table)
        read = read_manifest(tmp_path / name, classes=["disease_category"])["disease_category"]
        assert list(read[:3]) == ["", "2", "3"], name


def test_folds_balance_the_values_of_a_class_column(classed: Path, tmp_path: Path) -> None:
    figures = main(draw(classed, tmp_path / "folds.csv", "record_class"))
    poor = figures["positives_per_fold"]["record_class=Poor Quality"]
    assert sum(poor) == 4 and min(poor) >= 1, "poor quality is a value, and spread like others"
    assert set(figures["positives_per_fold"]) == {f"record_class={name}" for name in ("Normal", "CAS", "DAS", "CAS & DAS", "Poor Quality")}


def test_the_guard_judges_the_values_of_a_class_column(classed: Path, tmp_path: Path, capsys: Any) -> None:
    table = read_manifest(classed / "manifest.csv")
    # Every DAS on a recorder of its own; CAS & DAS in one patient, so in one fold alone.
    table["device"] = np.where(table["record_class"] == "DAS", "one", "other")
    keep = (table["record_class"] != "CAS & DAS") | (table["patient"] == "p0")
    write_manifest(tmp_path / "manifest.csv", table[keep])
    options = ["--class-column", "record_class", "--near_duplicates", "false", "--store", str(tmp_path / "store")]
    data = ["--manifest", str(tmp_path / "manifest.csv"), "--folds", str(classed / "folds.csv"), "--out", str(tmp_path / "guard.json")]
    main(["guard", *data, *options])
    found = {(finding["code"], finding["item"]) for finding in json.loads((tmp_path / "guard.json").read_text())["findings"]}
    assert ("device_tells_label", "record_class=DAS") in found
    assert ("label_without_positives", "record_class=CAS & DAS") in found
    assert ("label_without_positives", "record_class=Poor Quality") not in found


def test_the_shuffled_control_moves_classes(classed: Path, tmp_path: Path) -> None:
    out = tmp_path / "shuffled.csv"
    prepare(["shuffle", "--manifest", str(classed / "manifest.csv"), "--out", str(out), "--class-column", "record_class"])
    before, after = (read_manifest(path, classes=["record_class"]) for path in (classed / "manifest.csv", out))
    assert (before["record_class"] != after["record_class"]).any()
    assert sorted(before["record_class"]) == sorted(after["record_class"])
    assert ((after["quality"] == "poor") == (after["record_class"] == "Poor Quality")).all()
