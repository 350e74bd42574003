"""The waveform store: every recording decoded, mixed to mono and resampled once, read by batches of index tensors.

The samples are one int16 tensor: mapped from a file, so that processes share it and memory holds only what is read, or moved whole
to an accelerator. Reading a batch is one gather on that tensor's device.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from common.errors import UserError
from common.files import sha256_file
from common.store.borders import sample_borders
from common.store.build import build as bring_up_to_date
from common.store.index import AUDIO_NAME, BYTES_PER_SAMPLE, Index, Recording, absolute_paths, store_folder

INT32_SAMPLES = 2**31


@dataclass(frozen=True)
class ClipIndex:
    """Where clips lie in a store, one row per clip.

    Attributes:
        start: first sample of each clip in the store's flat tensor, int64 [n].
        length: number of samples of each clip, at least 1, int64 [n].
        scale: what one step of a stored sample is worth, float32 [n].
    """

    start: Tensor
    length: Tensor
    scale: Tensor

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, rows: Tensor) -> "ClipIndex":
        """The clips of ``rows`` (int64 [B], on the same device), in that order."""
        return ClipIndex(self.start[rows], self.length[rows], self.scale[rows])

    def to(self, device: torch.device | str) -> "ClipIndex":
        """The same rows on ``device``."""
        return ClipIndex(self.start.to(device), self.length.to(device), self.scale.to(device))


class WaveformStore:
    """Decoded recordings at one sample rate; made by `open`.

    Attributes:
        sample_rate: of what `read` returns, Hz.
    """

    def __init__(self, file: Path, recordings: Mapping[str, Recording], num_samples: int, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._file = file
        self._recordings = recordings
        self._num_samples = num_samples
        self._audio = _map_file(file, num_samples)

    @classmethod
    def open(
        cls, folder: str | Path, table: pd.DataFrame, sample_rate: int, *, build: bool = True, workers: int | None = None
    ) -> "WaveformStore":
        """Open the store under ``folder`` for the recordings of a manifest; decode those that are new or have changed.

        Args:
            folder: the store's folder, made if missing; several manifests and sample rates can share it.
            table: manifest, see `common.manifest.read_manifest`.
            sample_rate: that `read` shall return, Hz.
            build: decode what is missing, with a progress bar; otherwise refuse.
            workers: threads that decode; 0 works in the calling thread, None takes one per CPU.

        Raises:
            UserError: a recording is missing or unusable, or (with ``build`` off) not in the store as it is now.
        """
        paths = absolute_paths(table)
        target = store_folder(folder, sample_rate)
        if build:
            index, _ = bring_up_to_date(folder, paths, sample_rate, workers)
        else:
            index = Index.load(target)
            _refuse_unknown(index, paths, folder, sample_rate)
        return cls(target / AUDIO_NAME, index, index.num_samples, sample_rate)

    @property
    def device(self) -> torch.device:
        """Where the samples are and `read` works."""
        return self._audio.device

    @property
    def num_bytes(self) -> int:
        """Size of the samples, on disk and on a device."""
        return self._num_samples * BYTES_PER_SAMPLE

    def clips(self, table: pd.DataFrame) -> ClipIndex:
        """Find the clips of a manifest: their borders (seconds) are rounded to samples and cut at the recording's end.

        Args:
            table: the manifest that the store was opened with, or rows of it; an empty ``end_s`` is the recording's end.

        Returns:
            One row per row of ``table``, on the store's device.

        Raises:
            UserError: a clip has no samples, or its recording is not in the store.
        """
        paths = absolute_paths(table)
        for path, clip_id in zip(paths, table["clip_id"], strict=True):
            if path not in self._recordings:
                raise UserError(f"The recording {path} of clip {clip_id!r} is not in the waveform store: open the store with its manifest.")
        recordings = [self._recordings[path] for path in paths]
        total = np.array([recording.length for recording in recordings], dtype=np.int64)
        start, end = sample_borders(table, total, self.sample_rate)
        first = np.array([recording.start for recording in recordings], dtype=np.int64)
        scale = np.array([recording.scale for recording in recordings], dtype=np.float32)
        clips = ClipIndex(torch.from_numpy(first + start), torch.from_numpy(end - start), torch.from_numpy(scale))
        return clips.to(self.device)

    def read(self, clips: ClipIndex, offset: Tensor, num_samples: int, mode: str = "repeat") -> Tensor:
        """Read ``num_samples`` from each clip, without waiting for the device.

        Sample t of a row is the clip's sample offset + t: modulo the clip's length in mode "repeat" (with offset 0 what
        `common.windows.fill_index` does to a short clip), zero outside of the clip in mode "pad".

        Args:
            clips: B clips; best on the store's device, or they are moved there.
            offset: first sample within each clip, int64 [B]; as ``clips``.
            num_samples: T.
            mode: "repeat" or "pad".

        Returns:
            float32 [B, T], on the store's device.
        """
        if mode not in ("repeat", "pad"):
            raise UserError(f"Unknown way to fill a short clip {mode!r}: expected 'repeat' or 'pad'.")
        clips, offset = clips.to(self.device), offset.to(self.device)
        if self.device.type != "cpu":
            return self._gather(clips, offset, num_samples, mode)
        # A processor copies whole rows some ten times faster than it gathers single samples, and branching costs it nothing.
        whole = (offset >= 0) & (offset + num_samples <= clips.length)
        if not whole.any():
            return self._gather(clips, offset, num_samples, mode)
        rows = self._audio.unfold(0, num_samples, 1)
        if whole.all():
            return rows.index_select(0, clips.start + offset).float().mul_(clips.scale.unsqueeze(1))
        waveform = torch.empty(len(clips), num_samples)
        waveform[whole] = rows.index_select(0, (clips.start + offset)[whole]).float().mul_(clips.scale[whole].unsqueeze(1))
        waveform[~whole] = self._gather(clips[~whole], offset[~whole], num_samples, mode)
        return waveform

    def samples(self, clips: ClipIndex) -> Iterator[np.ndarray]:
        """The stored samples of each clip as they are, int16 [T] each; the store must be in main memory."""
        audio = self._audio.numpy()
        for start, length in zip(clips.start.tolist(), clips.length.tolist(), strict=True):
            yield audio[start : start + length]

    def fits(self, device: torch.device | str, share: float = 0.5) -> bool:
        """Whether the samples take no more than ``share`` of the memory that is free on ``device`` now.

        True for the device where they are; False for accelerators other than CUDA, whose free memory is not known.
        """
        device = torch.device(device)
        if device.type == self.device.type == "cpu":
            return True
        if device.type != "cuda":
            return False
        free, _ = torch.cuda.mem_get_info(device)
        return self.num_bytes <= share * free

    def to(self, device: torch.device | str) -> "WaveformStore":
        """The same store with its samples on ``device``; returns itself. Clip indices follow by `ClipIndex.to`."""
        self._audio = self._audio.to(device)
        return self

    def _gather(self, clips: ClipIndex, offset: Tensor, num_samples: int, mode: str) -> Tensor:
        # Half-size integers halve the time of the modulo; they are enough for 149 hours at 4 kHz.
        integer = torch.int32 if self._num_samples + num_samples < INT32_SAMPLES else torch.int64
        length = clips.length.to(integer).unsqueeze(1)
        step = torch.arange(num_samples, device=self.device, dtype=integer)
        if mode == "repeat":
            position = ((offset % clips.length).to(integer).unsqueeze(1) + step).remainder_(length)
            return self._take(clips, position)
        nearest = offset.clamp(min=-num_samples).minimum(clips.length)
        position = nearest.to(integer).unsqueeze(1) + step
        outside = (position < 0) | (position >= length)
        return self._take(clips, position.clamp_(min=0).minimum(length - 1)).masked_fill_(outside, 0.0)

    def _take(self, clips: ClipIndex, position: Tensor) -> Tensor:
        index = position.add_(clips.start.to(position.dtype).unsqueeze(1))
        return self._audio.index_select(0, index.view(-1)).view(index.shape).float().mul_(clips.scale.unsqueeze(1))

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the file again; pickling the samples would copy all of them.
        return {**self.__dict__, "_audio": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._audio = _map_file(self._file, self._num_samples)


def _map_file(file: Path, num_samples: int) -> Tensor:
    mapped = np.memmap(file, dtype="<i2", mode="r", shape=(num_samples,))
    with warnings.catch_warnings():
        # torch has no read-only tensors and says so; nothing here writes to this one. (A writable private mapping would do
        # without the warning, but the kernel refuses one that is larger than the memory.)
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(mapped)


def _refuse_unknown(index: Index, paths: list[str], folder: str | Path, sample_rate: int) -> None:
    unknown = [path for path in index.unknown(paths) if path not in index or sha256_file(path) != index[path].content]
    if unknown:
        raise UserError(
            f"The waveform store {folder} lacks {len(unknown)} recordings at {sample_rate} Hz as they are now, {unknown[0]} first: "
            "build it with 'python -m common store'."
        )
