"""The allow-list: leaks that someone looked at and accepts, each by name and with a reason, so that nothing is let through unnamed."""

from collections.abc import Iterable
from pathlib import Path

from common.errors import UserError
from common.files import read_csv
from finetune.guard.findings import KINDS, Finding

COLUMNS = ("code", "item", "other", "reason")

AllowList = dict[tuple[str, str, str], str]


def read_allow_list(path: str | Path | None) -> AllowList:
    """Read an allow-list.

    Args:
        path: CSV file with the columns code, item, other (for pairs) and reason; None for an empty list.

    Returns:
        (code, item, other) -> reason; the two of a pair are in sorted order.

    Raises:
        UserError: a column is missing, a code is no leak's, an item or a reason is empty, or a pair lacks one of its two.
    """
    if path is None:
        return {}
    table = read_csv(path, text=COLUMNS)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}: expected an allow-list with the columns {', '.join(COLUMNS)}.")
    codes = [code for code, kind in KINDS.items() if kind.severity == "leak"]
    allowed: AllowList = {}
    for number, row in enumerate(table[list(COLUMNS)].itertuples(index=False), start=2):
        code, item, other, reason = (str(value).strip() for value in row)
        if code not in codes:
            raise UserError(f"{path}, row {number} allows {code!r}: expected one of {', '.join(codes)}.")
        if not item or not reason:
            raise UserError(f"{path}, row {number} has no {'reason' if item else 'item'}: name what is allowed, and why.")
        if bool(other) != code.endswith("_duplicate"):
            raise UserError(
                f"{path}, row {number} allows {code} with other {other!r}: expected the second recording of a pair of duplicates there, "
                "and nothing for other leaks."
            )
        allowed[(code, *_pair(item, other))] = reason
    return allowed


def apply_allow_list(findings: Iterable[Finding], allowed: AllowList, path: str | Path | None) -> list[Finding]:
    """Mark the leaks that the list names; everything else stays as it is."""
    return [
        finding.allowed(f"{path}: {allowed[finding.key]}") if finding.key in allowed and not finding.allowed_by else finding
        for finding in findings
    ]


def allowed_groups(allowed: AllowList) -> set[str]:
    """Patients and recordings that may stand on two sides, named as `common.manifest.groups` does."""
    return {f"{code}:{item}" for code, item, _ in allowed if code in ("patient", "recording")}


def _pair(item: str, other: str) -> tuple[str, str]:
    return (item, other) if not other or item <= other else (other, item)
