"""What an exported file computes: the scripted wrapper round the traced networks of one or several folds.

Everything that depends on values (rate, lengths, number of windows) is scripted, so that it stays a branch; front end, encoder and
head are traced, since nnAudio and timm cannot be scripted. The wrapper calls the very functions that training and evaluation call.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

from common.audio.quality import NOT_FINITE, any_true, quality_flags
from common.audio.resample import MAX_KERNEL_NUMBERS, Resampler, filtered, kernel_numbers, polyphase_filter
from common.windows import covering_windows, cut_windows, pool_windows

# Hz, of the recorders and datasets in the field. A rate's filter takes as long to compute as ten seconds of audio to filter, so the file
# holds these ready; others are computed at each call.
COMMON_RATES = (8000, 10000, 11025, 16000, 22050, 32000, 44100, 48000)


class ExportedModel(nn.Module):
    """Waveforms at any rate and length to probabilities, averaged over folds, with quality flags.

    Args:
        networks: one module per fold (traced, for a file), windows [W, T] at ``sample_rate``, or what ``listener`` makes of them ->
            probabilities [W, L]; with ``metadata_columns`` raw rows [W, M] are their second argument.
        labels: names of the L outputs.
        thresholds: one per label; the file carries them, it does not apply them.
        sample_rate: Hz, that the networks take.
        window: samples of a window at ``sample_rate``, T.
        hop: samples from one window to the next.
        short_clips: "repeat" or "pad", see `common.windows.fill_index`.
        aggregate: "mean" or "max" of a clip's windows.
        windows_at_once: windows in memory at a time, so that an hour of audio needs no more than a minute.
        calibrators: one module per fold, its network's probabilities of whole clips [B, L] -> calibrated ones; none leaves them.
        metadata_columns: names of the M metadata that the networks take beside the audio.
        listener: computed once for all networks: the encoder that they have in common (traced, for a file). None gives them the windows.
        framers: one module per fold, traced likewise, what the listener answers -> probabilities of events, frame by frame [W, N, E];
            none for networks that tell whole windows only.
        frame_labels: names of the E events.
        frame_s: from one frame of a window to the next, s.
    """

    labels: list[str]
    thresholds: list[float]
    metadata_columns: list[str]
    frame_labels: list[str]
    ready_rates: list[int]
    # A constant, so that only the call that the networks understand is compiled.
    takes_metadata: Final[bool]

    def __init__(
        self,
        networks: list[nn.Module],
        labels: list[str],
        thresholds: list[float],
        sample_rate: int,
        window: int,
        hop: int,
        short_clips: str,
        aggregate: str,
        windows_at_once: int = 16,
        calibrators: list[nn.Module] | None = None,
        metadata_columns: list[str] | None = None,
        listener: nn.Module | None = None,
        framers: list[nn.Module] | None = None,
        frame_labels: list[str] | None = None,
        frame_s: float = 0.0,
    ) -> None:
        super().__init__()
        self.metadata_columns = metadata_columns or []
        self.frame_labels = frame_labels or []
        self.frame_s = frame_s
        self.takes_metadata = bool(metadata_columns)
        self.calibrators = nn.ModuleList(calibrators or [nn.Identity() for _ in networks])
        self.listener = listener or nn.Identity()
        self.networks = nn.ModuleList(networks)
        self.framers = nn.ModuleList(framers or [])
        self.labels = labels
        self.thresholds = thresholds
        self.sample_rate = sample_rate
        self.window = window
        self.hop = hop
        self.short_clips = short_clips
        self.aggregate = aggregate
        self.windows_at_once = windows_at_once
        self.max_kernel_numbers = MAX_KERNEL_NUMBERS
        self.ready_rates = [rate for rate in COMMON_RATES if rate != sample_rate]
        self.resamplers = nn.ModuleList(Resampler(rate, sample_rate) for rate in self.ready_rates)

    def forward(
        self, waveform: Tensor, sample_rate: int, lengths: Tensor | None = None, metadata: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Probabilities [B, L] and quality flags int64 [B] (0 is fine; bits in the file's model.json).

        A row's answer depends neither on the other rows nor on what lies beyond its length. What is not finite is read as 0.

        Args:
            waveform: [B, T], full scale [-1, 1].
            sample_rate: Hz.
            lengths: valid samples of each row, int64 [B]; all T by default.
            metadata: float [B, M], in the order of ``metadata_columns``: numbers as they are, categories as their place in the
                vocabulary of model.json, NaN for what is missing; all by default. Only for a file that takes metadata.
        """
        answers, flags = self.of_networks(waveform, sample_rate, lengths, metadata)
        return self.joined([answers]), flags

    @torch.jit.export
    def frames(self, waveform: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
        """Probabilities of the events ``frame_labels`` frame by frame [B, N, E], averaged over folds, and quality flags int64 [B].

        Frame n begins ``n * frame_s`` seconds after the waveform, whatever its length: one shorter than a window is filled as `forward`
        fills it, and the frames beyond its end tell of that. N is that of a window.

        Args:
            waveform: [B, T], no longer than a window, full scale [-1, 1].
            sample_rate: Hz.
        """
        if len(self.frame_labels) == 0:
            raise ValueError("the model tells whole windows only, not their frames")
        waveform, lengths, flags = self.at_own_rate(waveform, sample_rate, None)
        # One sample more is rounding at another rate.
        if waveform.shape[1] > self.window + 1:
            raise ValueError(
                f"waveform has {waveform.shape[1]} samples at {self.sample_rate} Hz, expected a window of {self.window} at most"
            )
        row = torch.arange(waveform.shape[0], device=waveform.device)
        heard = self.listener(cut_windows(waveform, lengths, row, torch.zeros_like(row), self.window, self.short_clips))
        answers: list[Tensor] = []
        for framer in self.framers:
            answers.append(framer(heard))
        return torch.stack(answers).sum(dim=0) / len(self.framers), flags

    def joined(self, answers: list[Tensor]) -> Tensor:
        """Average the networks' probabilities, one tensor [K, B, L]; in a list, as those of an ensemble's members come."""
        return answers[0].sum(dim=0) / len(self.networks)

    def of_networks(
        self, waveform: Tensor, sample_rate: int, lengths: Tensor | None, metadata: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `forward`, but the probabilities of every network, [K, B, L]."""
        waveform, lengths, flags = self.at_own_rate(waveform, sample_rate, lengths)
        if metadata is None:
            metadata = torch.full([waveform.shape[0], len(self.metadata_columns)], float("nan"), device=waveform.device)
        if metadata.dim() != 2 or metadata.shape[0] != waveform.shape[0] or metadata.shape[1] != len(self.metadata_columns):
            raise ValueError(
                f"metadata has shape {metadata.shape}, expected {waveform.shape[0]} rows of the columns {self.metadata_columns}"
            )
        return self.pooled(waveform, lengths, metadata.to(waveform.device, torch.float32)), flags

    def at_own_rate(self, waveform: Tensor, sample_rate: int, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """What the networks can take of a call: waveforms at their rate, at least one sample each, the lengths of these, and flags."""
        if waveform.dim() != 2:
            raise ValueError(f"waveform has {waveform.dim()} dimensions, expected 2: [batch, samples]")
        if lengths is None:
            lengths = torch.full([waveform.shape[0]], waveform.shape[1], dtype=torch.int64, device=waveform.device)
        if lengths.dim() != 1 or lengths.shape[0] != waveform.shape[0]:
            raise ValueError(f"lengths has shape {lengths.shape}, expected one length for each of {waveform.shape[0]} waveforms")
        lengths = lengths.to(waveform.device).clamp(min=0, max=waveform.shape[1])
        waveform = waveform.to(torch.float32)
        flags = quality_flags(waveform, lengths, sample_rate)
        waveform = self.resample(usable(waveform, lengths, flags), sample_rate)
        lengths = torch.div(lengths * self.sample_rate + sample_rate - 1, sample_rate, rounding_mode="floor")
        if waveform.shape[1] == 0:
            waveform = torch.nn.functional.pad(waveform, [0, 1])
        return waveform, lengths.clamp(min=1, max=waveform.shape[1]), flags

    def resample(self, waveform: Tensor, sample_rate: int) -> Tensor:
        if sample_rate == self.sample_rate:
            return waveform
        for number, ready in enumerate(self.resamplers):
            if sample_rate == self.ready_rates[number]:
                return ready(waveform)
        if sample_rate <= 0:
            raise ValueError(f"sample_rate is {sample_rate}, expected a positive number of Hz")
        divisor = math.gcd(sample_rate, self.sample_rate)
        source, target = sample_rate // divisor, self.sample_rate // divisor
        if kernel_numbers(sample_rate, self.sample_rate) > self.max_kernel_numbers:
            raise ValueError(f"cannot resample from {sample_rate} to {self.sample_rate} Hz: no usable common divisor; convert it first")
        return filtered(waveform, polyphase_filter(source, target).to(waveform.device), source, target)

    def pooled(self, waveform: Tensor, lengths: Tensor, metadata: Tensor) -> Tensor:
        clip, start = covering_windows(lengths, self.window, self.hop, waveform.shape[1])
        answers: list[Tensor] = [torch.zeros([len(self.networks), 0, len(self.labels)], device=waveform.device)]
        for first in range(0, clip.shape[0], self.windows_at_once):
            rows = clip[first : first + self.windows_at_once]
            starts = start[first : first + self.windows_at_once]
            windows = cut_windows(waveform, lengths, rows, starts, self.window, self.short_clips)
            answers.append(torch.stack(self.networks_answers(windows, metadata[rows])))
        return torch.stack(self.clips(list(torch.cat(answers, dim=1).unbind()), clip, waveform.shape[0]))

    def clips(self, windows: list[Tensor], clip: Tensor, num_clips: int) -> list[Tensor]:
        """Every network's probabilities of clips, K tensors [B, L], from those of their windows [W, L]."""
        clips: list[Tensor] = []
        # Each network's windows are joined and calibrated before the average, as they were when its calibrator was fitted.
        for number, calibrator in enumerate(self.calibrators):
            clips.append(calibrator(pool_windows(windows[number], clip, num_clips, self.aggregate)))
        return clips

    def networks_answers(self, windows: Tensor, metadata: Tensor) -> list[Tensor]:
        """Every network's probabilities of windows, K tensors [W, L]."""
        answers: list[Tensor] = []
        heard = self.listener(windows)
        for network in self.networks:
            if self.takes_metadata:
                answers.append(network(heard, metadata))
            else:
                answers.append(network(heard))
        return answers


def usable(waveform: Tensor, lengths: Tensor, flags: Tensor, not_finite: int = NOT_FINITE) -> Tensor:
    """``waveform`` [B, T], whose quality ``flags`` [B] are known, with 0 for what lies beyond its length or is not finite."""
    if not any_true((flags & not_finite) != 0) and not any_true(lengths < waveform.shape[1]):
        return waveform
    position = torch.arange(waveform.shape[1], device=waveform.device).unsqueeze(0)
    usable = (position < lengths.unsqueeze(1)) & torch.isfinite(waveform)
    return torch.where(usable, waveform, torch.zeros_like(waveform))
