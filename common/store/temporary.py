"""Samples that no recording file on this machine holds, read like those of a waveform store."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from common.store.index import AUDIO_NAME
from common.store.waveforms import ClipIndex, WaveformStore


class TemporaryStore(WaveformStore):
    """Clips in a file that is removed with the object.

    Args:
        samples: of each clip, int16 [T], taken one by one.
        scale: what one step of each clip's samples is worth, float32 [n].
        sample_rate: of the samples, Hz.

    Attributes:
        index: where each clip lies, in the order in which they were given.
    """

    def __init__(self, samples: Iterable[np.ndarray], scale: np.ndarray, sample_rate: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="auscult-")
        file = Path(self._folder.name) / AUDIO_NAME
        lengths = []
        with file.open("wb") as audio:
            for each in samples:
                audio.write(each.astype("<i2", copy=False).tobytes())
                lengths.append(len(each))
            if not lengths:
                # An empty file cannot be mapped.
                audio.write(bytes(2))
        length = np.array(lengths, dtype=np.int64)
        super().__init__(file, {}, max(1, int(length.sum())), sample_rate)
        start = torch.from_numpy(np.cumsum(length) - length)
        self.index = ClipIndex(start, torch.from_numpy(length), torch.from_numpy(scale.astype(np.float32)))
