"""Labels as people write them in tables: ``wheeze;crackle``, ``both``, ``Wheezes and Crackles``, ``yes``, ``1.0``."""

import re
from collections.abc import Iterable

from common.errors import UserError

# Words for the labels, as tables of lung sounds write them, after lower-casing.
KNOWN_WORDS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("normal", "none", "neither", "healthy"), frozenset({"normal"})),
    **dict.fromkeys(("wheeze", "wheezes", "wheezing"), frozenset({"wheeze"})),
    **dict.fromkeys(("crackle", "crackles", "crackling"), frozenset({"crackle"})),
    "both": frozenset({"wheeze", "crackle"}),
}
MISSING = frozenset({"", "na", "n/a", "nan", "null", "?"})
_TRUE = frozenset({"1", "true", "yes", "y", "t", "x"})
_FALSE = frozenset({"0", "false", "no", "n", "f"})
_SEPARATORS = re.compile(r"[;,|/+&\[\](){}'\"]+")
_WORD_BREAKS = re.compile(r"[\W_]+")


def parse_labels(text: str) -> frozenset[str] | None:
    """The labels that a string names.

    Labels are separated by ``;``, ``,``, ``|``, ``/``, ``+`` or ``&`` (brackets and quotes around them are dropped), and known words
    also by spaces, ``_``, ``-`` or "and". "both" is wheeze and crackle. What holds a word that is not known is a label of its own,
    spaces becoming ``_``: "Fine Crackle" is ``fine_crackle``.

    Returns:
        Label names in lower case; None where the string says nothing ("", "NA", "nan", "null", "?").

    >>> sorted(parse_labels("Wheezes and crackles"))
    ['crackle', 'wheeze']
    """
    if text.strip().casefold() in MISSING:
        return None
    labels: set[str] = set()
    for piece in _SEPARATORS.split(text.casefold()):
        words = [word for word in _WORD_BREAKS.split(piece) if word not in ("", "and")]
        if all(word in KNOWN_WORDS for word in words):
            labels.update(*(KNOWN_WORDS[word] for word in words))
        elif "_".join(words) not in MISSING:
            labels.add("_".join(words))
    return frozenset(labels) or None


def parse_codes(text: str) -> dict[str, str]:
    """What a table's codes stand for: "0=normal,1=wheeze,2=crackle,3=both" as code (lower case) -> words for `parse_labels`.

    Raises:
        UserError: a part is no ``code=label``, repeats a code, or names no label that is known.
    """
    codes: dict[str, str] = {}
    for part in text.split(","):
        code, equals, label = (piece.strip().casefold() for piece in part.partition("="))
        if not code or not equals or code in codes or not all(word in KNOWN_WORDS for word in _WORD_BREAKS.split(label)):
            raise UserError(
                f"--codes has the part {part!r}: expected parts like 1=wheeze, each code once, with labels of {', '.join(KNOWN_WORDS)}."
            )
        codes[code] = label
    return codes


def parse_flag(text: str) -> int | None:
    """A table's word for a label that is there (1, 1.0, true, yes, x), is not (0, 0.0, false, no) or is not annotated (empty, NA).

    Raises:
        ValueError: the text is none of these.
    """
    word = text.strip().casefold()
    if word in MISSING:
        return None
    if word in _TRUE:
        return 1
    if word in _FALSE:
        return 0
    number = float(word)
    if number not in (0, 1):
        raise ValueError(f"{text!r} is neither 1 nor 0")
    return int(number)


def any_of(flags: Iterable[int | None]) -> int | None:
    """1 when a flag is 1; else None when one is missing, since it might have been 1; else 0."""
    flags = list(flags)
    if 1 in flags:
        return 1
    return None if None in flags or not flags else 0


def normal_from(abnormal: Iterable[int | None]) -> int | None:
    """ "normal" by its definition: 1 when every abnormal label is 0, 0 when one is 1, else None."""
    present = any_of(abnormal)
    return None if present is None else 1 - present
