"""From audio files to probabilities, in the ways that are compared. All take files of one length and answer [B, L]."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from common.frontends import LogMel
from common.windows import clip_windows, fill_index, pool_windows
from finetune.classifier import Classifier
from finetune.export.networks import Network


def read(paths: Sequence[Path]) -> tuple[np.ndarray, int]:
    """Mono waveforms float32 [B, T] of files of one length and rate, and the rate, Hz."""
    samples, rates = zip(*(soundfile.read(path, dtype="float32", always_2d=True) for path in paths), strict=True)
    return np.stack([channels.mean(axis=1) for channels in samples]), rates[0]


class TorchScript:
    """The exported file.

    Args:
        path: of model.pt.
    """

    def __init__(self, path: Path) -> None:
        self.model = torch.jit.load(str(path))

    @torch.inference_mode()
    def __call__(self, paths: Sequence[Path]) -> np.ndarray:
        waveform, rate = read(paths)
        return self.model(torch.from_numpy(waveform), rate)[0].numpy()


class Onnx:
    """Its ONNX twin, which takes the model's rate only: soxr resamples before.

    Args:
        path: of model.onnx.
        sample_rate: Hz.
        threads: of ONNX Runtime.
    """

    def __init__(self, path: Path, sample_rate: int, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.sample_rate = sample_rate

    def __call__(self, paths: Sequence[Path]) -> np.ndarray:
        import soxr

        waveform, rate = read(paths)
        if rate != self.sample_rate:
            waveform = np.stack([soxr.resample(row, rate, self.sample_rate) for row in waveform])
        lengths = np.full(len(waveform), waveform.shape[1], dtype=np.int64)
        answered: np.ndarray = self.session.run(["probabilities"], {"waveform": waveform, "lengths": lengths})[0]
        return answered


class Eager:
    """The classifier as training leaves it, with the project's own resampler and windows.

    Args:
        classifier: in evaluation mode.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.network = Network(classifier).eval()

    @torch.inference_mode()
    def __call__(self, paths: Sequence[Path]) -> np.ndarray:
        from common.audio.resample import resample

        waveform, rate = read(paths)
        windows, clip = windows_of(resample(torch.from_numpy(waveform), rate, self.classifier.front_end.sample_rate), self.classifier)
        return pool_windows(self.network(windows), clip, len(waveform), self.classifier.aggregate).numpy()


class Librosa:
    """What one would otherwise write: librosa loads, resamples and computes the mel spectrogram, then the same network.

    The windows and the normalisation are the model's, so that the answer is nearly the same.

    Args:
        classifier: in evaluation mode, on a `LogMel`.
    """

    def __init__(self, classifier: Classifier) -> None:
        assert isinstance(classifier.front_end, LogMel)
        self.classifier, self.front_end = classifier, classifier.front_end

    @torch.inference_mode()
    def __call__(self, paths: Sequence[Path]) -> np.ndarray:
        import librosa

        waveforms = np.stack([librosa.load(path, sr=self.front_end.sample_rate)[0] for path in paths])
        windows, clip = windows_of(torch.from_numpy(waveforms), self.classifier)
        power = librosa.feature.melspectrogram(
            y=windows.numpy(),
            sr=self.front_end.sample_rate,
            n_fft=self.front_end.power_spectrum.n_fft,
            hop_length=self.front_end.hop,
            n_mels=self.front_end.num_bins,
            fmin=self.front_end.f_min_hz,
            fmax=self.front_end.f_max_hz,
            pad_mode="reflect",
        )
        spectrogram = self.front_end.compression(torch.from_numpy(power)).unsqueeze(1)
        answered = self.classifier.task.probabilities(self.classifier.classify(spectrogram))
        return pool_windows(answered, clip, len(waveforms), self.classifier.aggregate).numpy()


class BareNetwork:
    """The limit: encoder and head on spectrograms that are ready.

    Args:
        classifier: in evaluation mode.
        paths: files whose windows' spectrograms are made beforehand.
    """

    def __init__(self, classifier: Classifier, paths: Sequence[Path]) -> None:
        from common.audio.resample import resample

        waveform, rate = read(paths)
        windows, _ = windows_of(resample(torch.from_numpy(waveform), rate, classifier.front_end.sample_rate), classifier)
        self.classifier = classifier
        with torch.inference_mode():
            self.spectrogram = classifier.front_end(windows)

    @torch.inference_mode()
    def __call__(self, paths: Sequence[Path]) -> np.ndarray:
        return self.classifier.task.probabilities(self.classifier.classify(self.spectrogram)).numpy()


def windows_of(waveform: Tensor, classifier: Classifier) -> tuple[Tensor, Tensor]:
    """The classifier's windows of waveforms [B, T] at its rate: [W, window], and which row each is of, int64 [W]."""
    window = round(classifier.clip_s * classifier.front_end.sample_rate)
    clip, start = clip_windows([waveform.shape[1]] * len(waveform), window, classifier.hop_samples)
    within = fill_index(window, waveform.shape[1] - start, classifier.short_clips)
    column = (within + start.unsqueeze(1)).clamp(min=0)
    return torch.where(within >= 0, waveform[clip.unsqueeze(1), column], 0.0), clip
