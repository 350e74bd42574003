"""The page of events in time says what the commands write."""

import json
from pathlib import Path

import pandas as pd

from finetune.__main__ import main
from tests.docs.pages import ROOT, names, tables

PAGE = ROOT / "docs" / "events.md"


def test_tables_of_events_name_what_is_written(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ["--model", str(work / "model.pt"), "--input", str(work / "folder"), "--out", str(out)]
    main(["events", *given, "--high", "0", "--tracks", "npz"])
    files, columns, record = tables(PAGE, "What is written")
    assert {name.rstrip("/") for name in names(files) if "." in name or "/" in name} == {path.name for path in out.iterdir()}
    table = pd.read_csv(out / "events.csv")
    assert names(columns) == set(table.columns) and len(table)
    written = json.loads((out / "events.json").read_text(encoding="utf-8"))
    assert names(record) == written.keys()
    told = {row[0]: row[1] for row in record}
    for key, inner in (("`recordings`", written["recordings"][0]), ("`rules`", written["rules"][0])):
        assert all(f"`{name}`" in told[key] for name in inner), key
    table.assign(patient="").to_csv(tmp_path / "reference.csv", index=False)
    scored = ["--events", str(out / "events.csv"), "--reference", str(tmp_path / "reference.csv")]
    assert main(["score-events", *scored, "--resamples", "5"])["event"]["macro_f1"] == 1
    scores = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    assert names(tables(PAGE, "Scores")[1]) == scores.keys()
    assert names(tables(PAGE, "Scores")[0]) == {"event", "onset", "segment"}
