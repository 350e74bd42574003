"""The benchmark on real recordings: from a dataset's folder to packaged predictions, and every figure from these again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from benchmarks import quick_verify, run
from benchmarks.lungs.ablation import ablation, ablation_table
from benchmarks.lungs.datasets import EVENTS, RECORDS, Unit
from benchmarks.lungs.failing_records import worst_records
from benchmarks.lungs.failures import evaluations_of
from benchmarks.lungs.figures import rows_of
from benchmarks.lungs.packaged import read, unpacked
from benchmarks.lungs.recipes import DEFAULT_CONFIGS
from common.encoders import EfficientAT
from common.files import read_csv
from finetune.evaluation.summary import evaluate
from finetune.report.examples import worst_errors
from finetune.tasks.multilabel import MultiLabel

RATE = 8000
CLASSES = ["Normal", "CAS", "DAS", "CAS & DAS", "Poor Quality"]
BREATHS = ["Normal", "Wheeze", "Fine Crackle", "Wheeze+Crackle"]


def write_sprsound(root: Path, patients: int = 12, records: int = 5) -> None:
    """Records of half a second in SPRSound's own layout; a tone is a wheeze and clicks are crackles."""
    random = np.random.default_rng(0)
    for folder in ("train_wav", "train_json"):
        (root / folder).mkdir(parents=True)
    for number in range(patients * records):
        patient, kind = number // records, CLASSES[number % 5]
        name = f"{40000000 + patient}_5.0_{patient % 2}_p{1 + number % 4}_{number}"
        time = np.arange(RATE // 2) / RATE
        waveform = 0.01 * random.standard_normal(len(time))
        waveform += 0.2 * np.sin(2 * np.pi * random.uniform(300, 500) * time) * ("CAS" in kind)
        waveform[random.integers(0, len(time), 15)] += 0.7 * ("DAS" in kind)
        waveform = np.sign(waveform) * 0.9 if kind == "Poor Quality" else waveform
        soundfile.write(root / "train_wav" / f"{name}.wav", waveform.clip(-1, 1), RATE, subtype="PCM_16")
        breath = [{"start": "0", "end": "500", "type": BREATHS[number % 5]}] if kind != "Poor Quality" else []
        (root / "train_json" / f"{name}.json").write_text(json.dumps({"record_annotation": kind, "event_annotation": breath}))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], dict[str, Any]]:
    """The folder of a finished benchmark of made records, its arguments and its figures."""
    folder = tmp_path_factory.mktemp("lungs")
    write_sprsound(folder / "data")
    torch.manual_seed(0)
    torch.save(EfficientAT(0.4).state_dict(), folder / "weights.pt")
    words = ["sprsound", "--root", folder / "data", "--weights", folder / "weights.pt", "--out", folder / "out", "--smoke"]
    words += ["--seeds", "0", "1", "--resamples", "40"]
    return folder / "out", list(map(str, words)), run.main(list(map(str, words)))


def test_both_recipes_are_judged_on_every_task(finished: tuple[Path, list[str], dict[str, Any]]) -> None:
    out, _, figures = finished
    assert figures["clips"] == 60 and figures["patients"] == 12 and figures["seeds"] == [0, 1] and figures["smoke"]
    assert figures["events_clips"] == 48 and figures["events_patients"] == 12
    for name in ("macro_auroc", "task_2_1", "task_2_2", "task_1_1", "task_1_2"):
        assert 0 <= figures[f"floor_{name}"] <= 1 and figures[f"{name}_ci"][0] <= figures[name] <= figures[f"{name}_ci"][1]
        assert figures[f"{name}_gain"] == pytest.approx(figures[name] - figures[f"floor_{name}"], abs=2e-4)
    written = json.loads((out / "figures.json").read_text())
    assert len(written["rows"]) == 10 and len(written["minutes_of_runs"]) == 2 * 3 * (3 + 2)
    assert (out / "runs" / "strongest-task_2_2-1" / "oof.csv").is_file() and (out / "runs" / "strongest-task_1_2-1" / "oof.csv").is_file()
    assert min(figures["macro_auroc"], figures["task_1_1"]) > 0.8, "a tone and clicks are easily told from noise, whatever the network"


def test_it_goes_on_where_it_stopped(finished: tuple[Path, list[str], dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    out, words, figures = finished
    packages = [out / folder / name for folder in ("", "events") for name in ("predictions.csv", "members.csv")]
    written = [path.read_bytes() for path in packages]
    again = run.main(words)
    assert capsys.readouterr().err.count("nothing to do") == 30
    assert {**again, "minutes": 0} == {**figures, "minutes": 0} and [path.read_bytes() for path in packages] == written


def test_some_tasks_alone_have_the_same_figures(finished: tuple[Path, list[str], dict[str, Any]], tmp_path: Path) -> None:
    out, words, figures = finished
    words = [str(tmp_path) if word == str(out) else word for word in words]
    some = run.main([*words, "--tasks", "task_1_2"])
    assert {name: some[name] for name in some if "task" in name} == {name: figures[name] for name in figures if "task_1_2" in name}
    assert "clips" not in some and some["events_clips"] == 48 and not (tmp_path / "manifest.csv").exists()


def test_the_default_recipe_joins_where_it_is_asked_for(
    finished: tuple[Path, list[str], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its encoders are pretrained per fold, and it stands beside the others in figures and table."""
    out, words, figures = finished
    parts = "front_end: {class_path: common.frontends.LogMel, init_args: {num_mels: 16}}\n"
    parts += "  encoder: {class_path: common.encoders.Cnn2d, init_args: {channels: [4, 8]}}\n  clip_s: 0.5\n"
    ends = "trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false}\ntracking: {wandb: disabled}\n"
    (tmp_path / "pretrain.yaml").write_text(f"model:\n  {parts}data: {{batch_size: 8}}\n{ends}")
    task = "task: {class_path: finetune.tasks.multilabel.MultiLabel}\n  "
    (tmp_path / "finetune.yaml").write_text(f"model:\n  {task}{parts}data: {{batch_size: 8}}\n{ends}")
    monkeypatch.setitem(DEFAULT_CONFIGS, "small", (tmp_path / "pretrain.yaml", tmp_path / "finetune.yaml"))
    words = [str(tmp_path / "out") if word == str(out) else word for word in words]
    words += ["--tasks", "wheeze_crackle", "--seeds", "0", "--default", "small"]
    some = run.main(words)
    assert 0 <= some["default_macro_auroc"] <= 1 and "default_macro_auroc" not in figures
    assert some["default_macro_auroc_gain"] == pytest.approx(some["default_macro_auroc"] - some["floor_macro_auroc"], abs=2e-4)
    head, _, row = Path(some["table"]).read_text().splitlines()
    assert head.endswith("| gain | default recipe |") and f"| {some['default_macro_auroc']:.3f} (" in row
    record = json.loads((tmp_path / "out" / "runs" / "default-wheeze_crackle-0" / "run.json").read_text())
    assert record["encoder"]["source"] == "per_fold" and not record["encoder"]["transductive"]


def test_the_network_over_frames_is_exported_on_request(
    finished: tuple[Path, list[str], dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, words, figures = finished
    with pytest.raises(SystemExit):
        run.main([*words, "--bundle", "--tasks", "task_2_1"])
    assert "name wheeze_crackle among --tasks" in capsys.readouterr().err
    exported: list[tuple[object, ...]] = []
    # Of a network at 32 kHz it takes a minute, and has tests of its own.
    monkeypatch.setattr(run, "call", lambda *said: exported.append(said))
    assert run.main([*words, "--bundle"])["bundle"] == str(out / "bundle-0") and "bundle" not in figures
    assert exported == [("finetune", "export", "--run", out / "runs" / "events-wheeze_crackle-0", "--out", out / "bundle-0")]
    assert (out / "runs" / "events-wheeze_crackle-0" / "fold-0" / "best.ckpt").is_file()


def test_events_of_a_patient_are_held_out_together(finished: tuple[Path, list[str], dict[str, Any]]) -> None:
    package = read(finished[0] / "events" / "predictions.csv")
    assert set(package["event_type"]) == set(BREATHS) and list(package["clip_id"].str.rpartition("-")[0]) == list(package["recording"])
    for seed in (0, 1):
        assert (package.groupby("patient")[f"fold/{seed}"].nunique() == 1).all() and package[f"fold/{seed}"].nunique() == 3


def test_the_package_gives_the_figures_again(finished: tuple[Path, list[str], dict[str, Any]], tmp_path: Path) -> None:
    out, _, figures = finished
    (tmp_path / "sprsound" / "events").mkdir(parents=True)
    for name in ("predictions.csv", "members.csv", "events/predictions.csv"):
        (tmp_path / "sprsound" / name).write_bytes((out / name).read_bytes())
    verified = quick_verify.main(["--results", str(tmp_path), "--out", str(tmp_path / "again"), "--resamples", "40"])
    assert {name: verified[name] for name in figures if name in verified} == {name: figures[name] for name in figures if name in verified}
    tasks = ("macro_auroc", "task_2_1", "task_2_2", "task_1_1", "task_1_2")
    assert {"events_clips", *tasks, *(f"floor_{name}" for name in tasks)} <= set(verified)


def test_the_ablation_stacks_the_members_again(finished: tuple[Path, list[str], dict[str, Any]]) -> None:
    out, _, figures = finished
    rows = ablation(read(out / "predictions.csv"), read_csv(out / "members.csv", text=("clip_id",)), RECORDS, 10)
    values = {(row["task"], row["variant"]): row["value"] for row in rows}
    assert len(rows) == len(values) == 7 + 2 * (7 + 2)
    for task, key in (("wheeze_crackle", "macro_auroc"), ("task_2_1", "task_2_1"), ("task_2_2", "task_2_2")):
        # Of probabilities to four digits.
        assert values[task, "last layer + earlier layers + network over frames"] == pytest.approx(figures[key], abs=0.02)
    assert values["wheeze_crackle", "last layer"] == pytest.approx(figures["floor_macro_auroc"], abs=1e-3)
    of_run = [pd.read_csv(out / "runs" / f"events-wheeze_crackle-{seed}" / "oof.csv", dtype={"patient": str}) for seed in (0, 1)]
    alone = [evaluate(table, RECORDS.tasks["wheeze_crackle"].task(), resamples=2).figures()["macro_auroc"] for table in of_run]
    assert values["wheeze_crackle", "network over frames"] == pytest.approx(np.mean(np.array(alone, float)), abs=2e-3)
    table = ablation_table(rows).splitlines()
    assert len(table) == 2 + 9 and table[-1].startswith("| a threshold per class | - |")
    assert table[2].startswith("| last layer + earlier layers + network over frames | ")


def test_the_ablation_of_events_stacks_their_members_again(finished: tuple[Path, list[str], dict[str, Any]]) -> None:
    out, _, figures = finished
    folder = out / "events"
    rows = ablation(read(folder / "predictions.csv"), read_csv(folder / "members.csv", text=("clip_id",)), EVENTS, 10)
    values = {(row["task"], row["variant"]): row["value"] for row in rows}
    assert len(rows) == len(values) == 2 * (7 + 2)
    assert values["task_1_1", "last layer + earlier layers + network over frames"] == pytest.approx(figures["task_1_1"], abs=0.02)


@pytest.mark.parametrize("unit", [RECORDS, EVENTS])
def test_a_packaged_run_is_the_run(unit: Unit, finished: tuple[Path, list[str], dict[str, Any]]) -> None:
    out, _, _ = finished
    package = read(out / unit.folder / "predictions.csv")
    for name, judged in unit.tasks.items():
        task = judged.task()
        of_run = pd.read_csv(out / "runs" / f"strongest-{name}-1" / "oof.csv")
        found = unpacked(package, "strongest", name, 1, task)
        assert list(found["clip_id"]) == list(of_run["clip_id"]) and list(found["fold"]) == list(of_run["fold"])
        for label in task.labels:
            assert np.allclose(found[f"prob_{label}"], of_run[f"prob_{label}"], atol=5e-4 if task.one_of else 5.1e-5)
            np.testing.assert_array_equal(found[f"target_{label}"].to_numpy(float), of_run[f"target_{label}"].to_numpy(float))


def test_the_package_says_whom_and_what_a_record_is_of(finished: tuple[Path, list[str], dict[str, Any]]) -> None:
    package = read(finished[0] / "predictions.csv")
    for kind, column in (("CAS", "type_wheeze"), ("DAS", "type_fine_crackle"), ("CAS & DAS", "type_wheeze_crackle")):
        assert list(package[column] == 1) == list(package["record_class"] == kind)
    assert set(package["site"]) == {"p1", "p2", "p3", "p4"} and set(package["sex"]) == {"M", "F"} and set(package["age_years"]) == {5.0}


def test_the_worst_errors_are_those_of_the_report_of_the_first_seed(finished: tuple[Path, list[str], dict[str, Any]]) -> None:
    out, _, _ = finished
    package = read(out / "predictions.csv")
    of_run = pd.read_csv(out / "runs" / "strongest-wheeze_crackle-0" / "oof.csv", dtype={"patient": str})
    # Made records are easily told apart: the errors are wrong annotations.
    for label in ("wheeze", "crackle"):
        package.loc[::7, label] = 1 - package.loc[::7, label]
        of_run.loc[::7, f"target_{label}"] = 1 - of_run.loc[::7, f"target_{label}"]
    theirs = worst_errors(evaluate(of_run, MultiLabel(), resamples=1), 20)
    ours = worst_records(package, evaluations_of(package)[0], 20)
    columns = ["label", "kind", "clip_id"]
    assert len(ours) > 5 and sorted(map(tuple, ours[columns].to_numpy())) == sorted(map(tuple, theirs[columns].to_numpy()))


def test_other_predictions_give_other_figures(finished: tuple[Path, list[str], dict[str, Any]]) -> None:
    out, _, _ = finished
    package = read(out / "predictions.csv")
    before = rows_of(package, RECORDS, 5)
    columns = [name for name in package.columns if name.startswith("strongest/task_2_1/")]
    package[columns] = package[columns].to_numpy()[::-1]
    after = rows_of(package, RECORDS, 5)
    changed = {(one["task"], one["recipe"]) for one, other in zip(before, after, strict=True) if one["value"] != other["value"]}
    assert changed == {("task_2_1", "strongest")}


def test_without_weights_tasks_or_predictions_it_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["takehome", "--root", str(tmp_path), "--weights", str(tmp_path / "none.pt")])
    assert "No weights at" in capsys.readouterr().err
    (tmp_path / "weights.pt").touch()
    with pytest.raises(SystemExit):
        run.main(["takehome", "--root", str(tmp_path), "--weights", str(tmp_path / "weights.pt"), "--tasks", "task_1_1"])
    assert "--tasks names 'task_1_1', which takehome has not: expected some of wheeze_crackle" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        quick_verify.main(["--results", str(tmp_path)])
    assert "No packaged predictions at" in capsys.readouterr().err
