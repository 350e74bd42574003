"""The borders of a clip, which a manifest gives in seconds, as samples of its decoded recording."""

import numpy as np
import pandas as pd

from common.errors import UserError
from common.store.decode import AUDIT_HINT


def sample_borders(table: pd.DataFrame, total: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Round ``start_s`` and ``end_s`` to samples and cut them at the recording's end.

    Args:
        table: rows of a manifest; an empty ``end_s`` is the recording's end.
        total: samples of each row's recording, int64 [n].
        sample_rate: of the samples, Hz.

    Returns:
        First sample of each clip and the one behind its last, int64 [n] each.

    Raises:
        UserError: a clip has no samples.
    """
    start = np.rint(table["start_s"].to_numpy(dtype=np.float64) * sample_rate)
    end = np.rint(table["end_s"].to_numpy(dtype=np.float64) * sample_rate)
    start = np.clip(np.nan_to_num(start), 0, total).astype(np.int64)
    end = np.where(np.isnan(end), total, np.clip(np.nan_to_num(end), 0, total)).astype(np.int64)
    empty = np.flatnonzero(end <= start)
    if len(empty):
        row = table.iloc[empty[0]]
        more = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
        raise UserError(
            f"Clip {row['clip_id']!r}{more} has no samples: it goes from {row['start_s']} s to {row['end_s']} s of {row['path']}, "
            f"which lasts {total[empty[0]] / sample_rate:.3f} s; correct start_s and end_s, or remove it ({AUDIT_HINT})."
        )
    return start, end
