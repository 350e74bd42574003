"""A second recording for each clip: of the same patient at the same site, drawn on the device."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor


@dataclass(frozen=True)
class Partners:
    """For each clip the clips of other recordings of its patient and site, as stretches of one list.

    The list holds the table's rows sorted by patient and site, then recording, so that a group's other recordings are the group's
    stretch without the stretch of the clip's own recording.

    Attributes:
        order: rows of the table, int64 [n].
        start: place in ``order`` where each row's group begins, int64 [n].
        own_start: place where the row's own recording begins, int64 [n].
        own: clips of the row's own recording in its group, int64 [n].
        others: clips of the group's other recordings, int64 [n]; 0 where there is none.
    """

    order: Tensor
    start: Tensor
    own_start: Tensor
    own: Tensor
    others: Tensor

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Partners":
        """Partners of the rows of ``table``; a clip whose patient or site is empty has none."""
        patient, site, recording = table["patient"].astype(str), table["site"].astype(str), table["recording"].astype(str)
        named = (patient != "") & (site != "")
        # A group of its own for each clip that is not named.
        alone = pd.Series(np.where(named, -1, np.arange(len(table))), index=table.index)
        keys = pd.DataFrame({"patient": patient, "site": site, "alone": alone, "recording": recording})
        group = keys.groupby(["patient", "site", "alone"], sort=False).ngroup()
        within = keys.groupby(["patient", "site", "alone", "recording"], sort=False).ngroup()
        order = np.lexsort((within, group))
        start, size = _stretches(group.to_numpy(), order)
        own_start, own = _stretches(within.to_numpy(), order)
        return cls(*(torch.from_numpy(each.astype(np.int64)) for each in (order, start, own_start, own, size - own)))

    def draw(self, rows: Tensor, draws: Tensor) -> Tensor:
        """A row of another recording for each row, all of them equally likely; the row itself where there is none.

        Args:
            rows: int64 [B].
            draws: uniform in [0, 1], [B].

        Returns:
            int64 [B], on the device of ``rows``.
        """
        others = self.others[rows]
        place = self.start[rows] + (draws * others).to(torch.int64).minimum(others - 1)
        place = place + torch.where(place >= self.own_start[rows], self.own[rows], 0)
        return torch.where(others > 0, self.order[place], rows)

    def to(self, device: torch.device) -> "Partners":
        """The same on ``device``."""
        return Partners(*(each.to(device) for each in (self.order, self.start, self.own_start, self.own, self.others)))


def _stretches(codes: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in ``order`` each row's code begins, and how often it is there, each [n]; equal codes must stand together."""
    _, first, inverse, count = np.unique(codes[order], return_index=True, return_inverse=True, return_counts=True)
    start, size = np.empty_like(codes), np.empty_like(codes)
    start[order], size[order] = first[inverse], count[inverse]
    return start, size
