"""Groups of clips are judged apart."""

import numpy as np
import pandas as pd
import pytest
from made_run import LABELS, make_oof
from sklearn import metrics as sklearn_metrics

from finetune.evaluation.metrics.by_group import age_group, describing_columns, group_aurocs
from finetune.evaluation.out_of_fold import check_out_of_fold

NAN = float("nan")


def test_groups_are_judged_apart_and_say_why_they_cannot_be():
    table = make_oof(patients=30)
    table["device"] = np.where(table["patient"] < "p020", "old", np.where(table["patient"] < "p027", "new", "rare"))
    table.loc[table["device"] == "new", "target_crackle"] = 0
    predictions = check_out_of_fold(table, LABELS)
    found = group_aurocs(predictions.table[["device"]], predictions.targets, predictions.probabilities, predictions.group, LABELS, 50, 0)
    by = {(of.value, of.label): of for of in found}
    old = table[table["device"] == "old"]
    assert by["old", "wheeze"].auroc == pytest.approx(sklearn_metrics.roc_auc_score(old["target_wheeze"], old["prob_wheeze"]))
    assert by["old", "wheeze"].interval[0] < by["old", "wheeze"].auroc < by["old", "wheeze"].interval[1]
    assert by["new", "crackle"].auroc is None and by["new", "crackle"].reason == "no positive clip"
    assert by["rare", "wheeze"].reason == "fewer than 5 patients" and by["rare", "wheeze"].patients == 3


def test_the_manifest_adds_rate_age_and_sex_by_clip_not_by_row():
    table = pd.DataFrame({"clip_id": ["a", "b", "c"], "device": ["x", "", "y"], "site": ""})
    manifest = pd.DataFrame({"clip_id": ["c", "a"], "sample_rate": [44100.0, NAN], "age_years": [70, 1.5], "sex": ["F", None]})
    found = describing_columns(table, manifest)
    assert found.to_dict("list") == {
        "device": ["x", "", "y"],
        "sample_rate": ["", "", "44100"],
        "age_group": ["under 2 years", "", "65 years and over"],
        "sex": ["", "", "F"],
    }
    assert [age_group(years) for years in (2, 11.9, 18, -1, NAN)] == ["2 to 11 years", "2 to 11 years", "18 to 64 years", "", ""]
