"""Tables of events, found or annotated: one row per event, with recording, label, onset_s and offset_s."""

import numpy as np
import pandas as pd

from common.errors import UserError

SPAN_COLUMNS = ("recording", "label", "onset_s", "offset_s")


def spans(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """The four columns of ``table``, checked: recording and label as text, times as finite floats.

    Args:
        table: of events.
        where: how messages name it.

    Raises:
        UserError: a column is missing, a recording or label is empty, or an event does not end after it begins.
    """
    missing = [name for name in SPAN_COLUMNS if name not in table.columns]
    if missing:
        raise UserError(
            f"{where} has no column {missing[0]!r} (it has {', '.join(map(str, table.columns))}): expected {', '.join(SPAN_COLUMNS)}."
        )
    found = pd.DataFrame({name: table[name].fillna("").astype(str) for name in ("recording", "label")})
    for name in ("onset_s", "offset_s"):
        found[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
    onset_s, offset_s = (found[name].to_numpy() for name in ("onset_s", "offset_s"))
    named = ((found["recording"] != "") & (found["label"] != "")).to_numpy()
    # NaN, which is no time, compares as wrong.
    wrong = ~(named & (onset_s >= 0) & (offset_s > onset_s) & np.isfinite(offset_s))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"{where}, event {row + 1} ({', '.join(map(str, found.iloc[row]))}): expected a recording, a label, and seconds of which the "
            "offset comes after the onset."
        )
    return found.reset_index(drop=True)
