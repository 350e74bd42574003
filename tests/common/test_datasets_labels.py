"""Labels as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.datasets.labels import any_of, normal_from, parse_flag, parse_labels

LABEL_SETS = st.sets(st.sampled_from(["normal", "wheeze", "crackle"]), min_size=1)


@given(LABEL_SETS, st.sampled_from([";", ",", "|", " ", "/", "+", " & ", " and ", "; ", "_", "-"]), st.randoms(), st.booleans())
def test_any_order_separator_and_case_names_the_same_labels(labels, separator, random, brackets):
    words = [random.choice([label, label.upper(), label.capitalize()]) for label in labels]
    random.shuffle(words)
    text = separator.join(words)
    assert parse_labels(f"['{text}']" if brackets else f" {text} ") == labels


@given(st.text())
def test_any_text_gives_clean_names_that_parse_as_themselves(text):
    labels = parse_labels(text)
    assert labels is None or all(label.replace("_", "").isalnum() for label in labels)
    assert labels is None or parse_labels(";".join(labels)) == labels


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("both", {"wheeze", "crackle"}),
        ("Wheezes and Crackles", {"wheeze", "crackle"}),
        ("wheeze_crackle", {"wheeze", "crackle"}),
        ('["wheeze", "crackle"]', {"wheeze", "crackle"}),
        ("None", {"normal"}),
        ("Fine Crackle; Wheeze", {"fine_crackle", "wheeze"}),
        ("rhonchi", {"rhonchi"}),
        ("normal wheeze", {"normal", "wheeze"}),
        ("[nan]", None),
        ("", None),
        (" NaN ", None),
        ("?", None),
        (";", None),
    ],
)
def test_strings_of_labels(text, labels):
    assert parse_labels(text) == labels


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("1", 1),
        ("1.0", 1),
        (" Yes ", 1),
        ("TRUE", 1),
        ("x", 1),
        ("0", 0),
        ("0.0", 0),
        ("-0", 0),
        ("no", 0),
        ("False", 0),
        ("", None),
        ("NA", None),
    ],
)
def test_flags(text, flag):
    assert parse_flag(text) == flag


@pytest.mark.parametrize("text", ["2", "-1", "0.5", "maybe", "inf", "wheeze"])
def test_what_is_no_flag_is_refused(text):
    with pytest.raises(ValueError):
        parse_flag(text)


@given(st.lists(st.sampled_from([0, 1, None])))
def test_unknown_is_not_absent(flags):
    assert any_of(flags) == (1 if 1 in flags else None if None in flags or not flags else 0)
    assert normal_from(flags) == {1: 0, 0: 1, None: None}[any_of(flags)]
