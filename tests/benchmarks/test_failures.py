"""The analysis of errors of packaged predictions, on made ones whose errors are known."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.lungs.datasets import SOUNDS
from benchmarks.lungs.failing_groups import failing_groups
from benchmarks.lungs.failing_records import concentration, failing_patients, label_errors, worst_records
from benchmarks.lungs.failures import evaluations_of, write_failures
from benchmarks.lungs.packaged import WHOLE, name_of, read

PATIENTS, ROUNDS, SEEDS = 40, 4, (0, 1)


def made_package() -> pd.DataFrame:
    """Records of 40 patients; rhonchi are never heard, the others mostly. Two patients have stridor, and the last 4 come from site p9."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(PATIENTS * ROUNDS):
        patient = number % PATIENTS
        sound = ["", "", "type_wheeze", "type_rhonchi", "type_fine_crackle", "type_wheeze_crackle", "", ""][
            (number // PATIENTS + patient) % 8
        ]
        sound = "type_stridor" if patient < 2 and sound == "type_wheeze" else sound
        wheeze, crackle = int("crackle" not in sound and sound != "") or int(sound == "type_wheeze_crackle"), int("crackle" in sound)
        poor = number % 23 == 22
        row = {
            "clip_id": f"{patient}_{number}",
            "recording": f"{patient}_{number}",
            "patient": f"p{patient}",
            "quality": "poor" if poor else "",
            "wheeze": np.nan if poor else wheeze,
            "crackle": np.nan if poor else crackle,
            "record_class": "Poor Quality" if poor else ["Normal", "DAS", "CAS", "CAS & DAS"][2 * wheeze + crackle],
            "site": "p9" if patient >= PATIENTS - 4 else "p1",
            "age_years": 1.0 if patient % 2 else 5.0,
            "sex": "FM"[patient % 3 == 0],
            **{column: int(column == sound) for column in SOUNDS},
        }
        for seed in SEEDS:
            row[f"fold/{seed}"] = (patient + seed) % 5
            heard = {"wheeze": wheeze and sound != "type_rhonchi", "crackle": crackle}
            for label, present in heard.items():
                value = np.clip(0.5 + 0.25 * (2 * bool(present) - 1) + random.normal(0, 0.12), 0.01, 0.99)
                row[name_of("strongest", "wheeze_crackle", seed, label)] = round(WHOLE * value)
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def package() -> pd.DataFrame:
    return made_package()


def test_the_sound_that_is_not_heard_is_found(package: pd.DataFrame) -> None:
    rows = {(row["label"], row["of"], row["name"]): row for row in failing_groups(package, evaluations_of(package), resamples=60)}
    rhonchi, wheeze = rows["wheeze", "Sound", "rhonchi"], rows["wheeze", "Sound", "wheeze"]
    assert rhonchi["auroc_interval"][1] < 0.75 < 0.95 < wheeze["auroc"] and rhonchi["sensitivity"] < 0.5 < wheeze["sensitivity"]
    known = package[package["quality"] == ""]
    of_sound = known[(known["wheeze"] == 0) | (known["type_rhonchi"] == 1)]
    areas = [roc_auc_score(of_sound["wheeze"], of_sound[name_of("strongest", "wheeze_crackle", seed, "wheeze")]) for seed in SEEDS]
    assert rhonchi["auroc"] == pytest.approx(np.mean(areas))
    assert rhonchi["records"] == rhonchi["positives"] == (known["type_rhonchi"] == 1).sum() and rhonchi["specificity"] is None
    assert ("crackle", "Sound", "rhonchi") not in rows and ("crackle", "Sound", "wheeze+crackle") in rows


def test_records_without_the_label_are_told_by_class(package: pd.DataFrame) -> None:
    evaluations = evaluations_of(package)
    rows = {(row["of"], row["name"]): row for row in failing_groups(package, evaluations, resamples=60) if row["label"] == "wheeze"}
    known = package["quality"] == ""
    crackles = (known & (package["record_class"] == "DAS")).to_numpy()
    right = np.mean([(evaluation.decisions[crackles, 0] == 0).mean() for evaluation in evaluations])
    assert rows["Without it", "DAS"]["specificity"] == pytest.approx(right) and rows["Without it", "DAS"]["sensitivity"] is None
    assert rows["All", ""]["records"] == known.sum() and rows["Without it", "DAS"]["positives"] == 0
    sites = [rows["Site", name]["records"] for name in ("p1", "p9")]
    assert sum(sites) == known.sum() and {name for of, name in rows if of == "Age group"} == {"under 2 years", "2 to 11 years"}


def test_a_group_of_few_patients_has_counts_and_no_figures(package: pd.DataFrame) -> None:
    rows = {(row["label"], row["name"]): row for row in failing_groups(package, evaluations_of(package), resamples=20)}
    for name in ("stridor", "p9"):
        row = rows["wheeze", name]
        assert row["patients"] < 5 and row["records"] > 0 and row["auroc"] is None and row["sensitivity_interval"] is None


def test_patients_are_ordered_by_their_wrong_records(package: pd.DataFrame) -> None:
    evaluations = evaluations_of(package)
    patients = failing_patients(evaluations)
    wheeze = patients[patients["label"] == "wheeze"].set_index("patient")
    assert wheeze["wrong"].is_monotonic_decreasing and list(dict.fromkeys(patients["label"])) == ["wheeze", "crackle"]
    known = (package["quality"] == "").to_numpy()
    wrong = np.mean([(evaluation.decisions[:, 0] != package["wheeze"])[known].sum() for evaluation in evaluations])
    found = concentration(patients)["wheeze"]
    assert found["wrong"] == pytest.approx(wrong) and found["patients"] == PATIENTS
    assert wheeze["wrong"][: found["half"]].sum() >= wrong / 2 > wheeze["wrong"][: found["half"] - 1].sum()


def test_only_what_every_seed_doubts_is_listed(package: pd.DataFrame) -> None:
    doubted = package.copy()
    healthy = np.flatnonzero(((doubted["record_class"] == "Normal") & (doubted["quality"] == "")).to_numpy())[:2]
    for seed in SEEDS:
        doubted.loc[healthy[0], name_of("strongest", "wheeze_crackle", seed, "crackle")] = 9990
    doubted.loc[healthy[1], name_of("strongest", "wheeze_crackle", 0, "crackle")] = 9990
    doubted.loc[healthy[1], name_of("strongest", "wheeze_crackle", 1, "crackle")] = 10
    found = label_errors(doubted, evaluations_of(doubted))
    first = found.iloc[0]
    assert first["clip_id"] == doubted["clip_id"][healthy[0]] and first["label"] == "crackle" and first["annotated"] == 0
    assert first["probability"] == pytest.approx(0.999) and first["disagreement"] == pytest.approx(0.998)
    of_crackle = found[found["label"] == "crackle"]
    assert doubted["clip_id"][healthy[1]] not in set(of_crackle["clip_id"])
    assert list(found["rank"]) == list(range(1, len(found) + 1)) and "rhonchi" in set(found["sounds"])


def test_the_worst_errors_name_their_sounds(package: pd.DataFrame) -> None:
    worst = worst_records(package, evaluations_of(package)[0], 6)
    missed = worst[(worst["label"] == "wheeze") & (worst["kind"] == "false negative")]
    assert len(worst) <= 6 and set(missed["sounds"]) == {"rhonchi"}


def test_the_same_predictions_give_the_same_files(package: pd.DataFrame, tmp_path: Path) -> None:
    package.to_csv(tmp_path / "predictions.csv", index=False)
    for name in ("one", "other"):
        written = write_failures(read(tmp_path / "predictions.csv"), tmp_path / name, resamples=20)
    for path in written:
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    text = (tmp_path / "one" / "failures.md").read_text(encoding="utf-8")
    assert "| Sound | rhonchi |" in text and "| Sound | stridor |" in text and "failures.svg" in text
    picture = ElementTree.parse(tmp_path / "one" / "failures.svg").getroot()
    assert picture.tag.endswith("svg")


def test_other_predictions_give_another_page(package: pd.DataFrame, tmp_path: Path) -> None:
    other = package.copy()
    columns = [name for name in map(str, other) if name.startswith("strongest/")]
    other[columns] = WHOLE - other[columns]
    pages = [write_failures(table, tmp_path / name, resamples=5)[0].read_bytes() for name, table in (("one", package), ("other", other))]
    assert pages[0] != pages[1]
