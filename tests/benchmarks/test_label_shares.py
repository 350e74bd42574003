"""Who is labelled in a share of the training patients: nested by patient, every class there, drawn by the seed."""

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.labels.subsets import LABELS, choose, with_labels_of
from common.manifest import Clip, groups, to_table


@st.composite
def manifests(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.Series]:
    """Clips with labels of all kinds, some of poor quality, some without a patient's name; a patient has one role."""
    clips, roles = [], []
    for patient in range(draw(st.integers(2, 12))):
        role = draw(st.sampled_from(("train", "train", "train", "validation", "held_out")))
        for number in range(draw(st.integers(1, 4))):
            value = st.sampled_from((0, 1, None))
            labels = {label: draw(value) for label in LABELS}
            quality = draw(st.sampled_from(("", "", "poor")))
            name = f"p{patient}" if patient else ""
            recording = f"r{patient}" if patient == 0 else f"r{patient}-{number}"
            clips.append(Clip(f"{patient}-{number}", "x.wav", recording, patient=name, quality=quality, labels=labels))
            roles.append(role)
    table = to_table(clips)
    table[list(LABELS)] = table[list(LABELS)].astype(float)
    return table, pd.Series(roles)


SHARES = st.floats(0.1, 100)


@settings(max_examples=60, deadline=None)
@given(manifests(), SHARES, SHARES, st.integers(0, 5))
def test_shares_are_nested_by_patient_and_touch_training_labels_alone(
    made: tuple[pd.DataFrame, pd.Series], one: float, other: float, seed: int
) -> None:
    table, role = made
    small, large = (choose(table, role, share, seed) for share in sorted((one, other)))
    assert small.patients == large.patients[: len(small.patients)], "a smaller share is the beginning of a larger one"
    kept = with_labels_of(table, role, small.patients)
    assert set(kept.columns) >= {"clip_id", "path", "quality", *LABELS} and kept["clip_id"].equals(table["clip_id"])
    inside = (role != "train") | groups(table).isin(small.patients)
    pd.testing.assert_frame_equal(kept.loc[inside, list(LABELS)], table.loc[inside, list(LABELS)])
    assert kept.loc[~inside, list(LABELS)].isna().all(axis=None)
    trained = kept[(role == "train") & kept[list(LABELS)].notna().any(axis=1)]
    assert not set(groups(trained)) & set(groups(table[role == "held_out"]))
    counted = trained[trained["quality"] != "poor"]
    assert set(groups(counted)) == set(small.patients) and len(counted) == small.clips


@settings(max_examples=60, deadline=None)
@given(manifests(), SHARES, st.integers(0, 5))
def test_a_share_holds_every_class_that_there_is_and_no_patient_more(made: tuple[pd.DataFrame, pd.Series], share: float, seed: int) -> None:
    table, role = made
    subset = choose(table, role, share, seed)

    def classes(patients: tuple[str, ...]) -> set[str]:
        rows = table[(role == "train") & (table["quality"] != "poor") & groups(table).isin(patients)]
        return {f"{label}={value}" for label in ("wheeze", "crackle") for value in (0, 1) if (rows[label] == value).any()}

    everyone = choose(table, role, 100, seed).patients
    assert classes(subset.patients) == classes(everyone)
    assert set(subset.lacks) == {f"{label}={value}" for label in ("wheeze", "crackle") for value in (0, 1)} - classes(everyone)
    rounded = max(1, int(len(everyone) * share / 100 + 0.5))
    assert len(subset.patients) >= min(rounded, len(everyone))
    if len(subset.patients) > rounded:
        assert classes(subset.patients[:-1]) != classes(everyone)
    shuffled = table.sample(frac=1, random_state=seed)
    assert choose(shuffled, role[shuffled.index], share, seed) == subset


def test_another_seed_labels_other_patients() -> None:
    clips = [Clip(f"{n}", "x.wav", f"{n}", patient=f"p{n}", labels={"normal": 0, "wheeze": n % 2, "crackle": n % 2}) for n in range(40)]
    table, role = to_table(clips), pd.Series(["train"] * 40)
    drawn = {choose(table, role, 25, seed).patients for seed in range(4)}
    assert len(drawn) == 4 and {len(patients) for patients in drawn} == {10}
