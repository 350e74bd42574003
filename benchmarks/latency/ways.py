"""From audio files to probabilities, in the ways that are compared. All take files of one length and answer [B, L].

All hear the same windows, those of the exported file, in groups of as many as it takes at once.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from common.audio.resample import resample
from common.frontends import LogMel
from common.windows import covering_windows, cut_windows, pool_windows
from finetune.classifier import Classifier
from finetune.export.networks import Network

# As in an exported file.
WINDOWS_AT_ONCE = 16
# One step of 16 bit.
FULL_SCALE = np.float32(1 / 32768)


def read(paths: Sequence[Path]) -> tuple[np.ndarray, int]:
    """Waveforms float32 [B, T] of mono files of 16 bit, of one length and rate, and the rate, Hz."""
    # As they are, then scaled: the numbers that soundfile's own floats are, in less than half of the time.
    samples, rates = zip(*(soundfile.read(path, dtype="int16") for path in paths), strict=True)
    whole = np.stack(samples) if len(samples) > 1 else samples[0][np.newaxis]
    return np.multiply(whole, FULL_SCALE, dtype=np.float32), rates[0]


class TorchScript:
    """The exported file.

    Args:
        path: of model.pt.
    """

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            # torch 2.11 says that TorchScript is deprecated; it is what the bundle promises.
            warnings.simplefilter("ignore")
            self.model = torch.jit.load(str(path))

    @torch.inference_mode()
    def __call__(self, paths: Sequence[Path]) -> np.ndarray:
        waveform, rate = read(paths)
        return self.model(torch.from_numpy(waveform), rate)[0].numpy()


class Onnx:
    """Its ONNX twin, as the service opens it. It takes the model's rate only: soxr resamples before.

    Args:
        path: of model.onnx, with quality.onnx beside it.
        sample_rate: Hz.
        window: samples of a window.
        threads: of ONNX Runtime.
    """

    def __init__(self, path: Path, sample_rate: int, window: int, threads: int) -> None:
        from serve.onnx_engine import session

        self.session = session(path.read_bytes(), threads)
        self.judge = session(path.with_name("quality.onnx").read_bytes(), threads)
        self.sample_rate, self.window = sample_rate, window

    def __call__(self, paths: Sequence[Path]) -> np.ndarray:
        import soxr

        waveform, rate = read(paths)
        if rate != self.sample_rate:
            waveform = np.stack([soxr.resample(row, rate, self.sample_rate) for row in waveform])
        # It takes all windows of its rows at once, so rows are given in groups.
        rows = max(1, WINDOWS_AT_ONCE * self.window // waveform.shape[1])
        return np.concatenate([self.answer(waveform[first : first + rows]) for first in range(0, len(waveform), rows)])

    def answer(self, waveform: np.ndarray) -> np.ndarray:
        """Probabilities [B, L] of waveforms at the model's rate."""
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
        windows, clip = heard_windows(paths, self.classifier)
        answered = torch.cat([self.network(part) for part in windows.split(WINDOWS_AT_ONCE)])
        return pool_windows(answered, clip, len(paths), self.classifier.aggregate).numpy()


class Librosa:
    """What one would otherwise write: librosa loads, resamples and computes the mel spectrogram, then the same network.

    The windows and the normalisation are the model's, so that the answer is nearly the same.

    Args:
        classifier: in evaluation mode, on a `LogMel`.
        blas_threads: that numpy's BLAS, by which librosa multiplies matrices, may use. As many as there are cores is what a script has
            that says nothing; they then compete with the network's.
    """

    def __init__(self, classifier: Classifier, blas_threads: int) -> None:
        assert isinstance(classifier.front_end, LogMel)
        self.classifier, self.front_end = classifier, classifier.front_end
        self.blas_threads, self.libraries = blas_threads, ThreadpoolController()

    @torch.inference_mode()
    def __call__(self, paths: Sequence[Path]) -> np.ndarray:
        with self.libraries.limit(limits=self.blas_threads, user_api="blas"):
            waveforms = self.load(paths)
            windows, clip = windows_of(torch.from_numpy(waveforms), self.classifier)
            answered = torch.cat([self.answer(part) for part in windows.split(WINDOWS_AT_ONCE)])
        return pool_windows(answered, clip, len(waveforms), self.classifier.aggregate).numpy()

    def load(self, paths: Sequence[Path]) -> np.ndarray:
        """Mono waveforms [B, T] at the model's rate."""
        import librosa

        return np.stack([librosa.load(path, sr=self.front_end.sample_rate)[0] for path in paths])

    def mel(self, windows: np.ndarray) -> np.ndarray:
        """Mel spectrograms of the power, [W, F, N]."""
        import librosa

        power: np.ndarray = librosa.feature.melspectrogram(
            y=windows,
            sr=self.front_end.sample_rate,
            n_fft=self.front_end.power_spectrum.n_fft,
            hop_length=self.front_end.hop,
            n_mels=self.front_end.num_bins,
            fmin=self.front_end.f_min_hz,
            fmax=self.front_end.f_max_hz,
            pad_mode="reflect",
        )
        return power

    def answer(self, windows: Tensor) -> Tensor:
        """Probabilities [W, L] of windows [W, T]."""
        spectrogram = self.front_end.compression(torch.from_numpy(self.mel(windows.numpy()))).unsqueeze(1)
        return self.classifier.task.probabilities(self.classifier.classify(spectrogram))


class BareNetwork:
    """The limit of what takes the eager network: encoder and head on spectrograms that are ready.

    Args:
        classifier: in evaluation mode.
        paths: files whose windows' spectrograms are made beforehand.
    """

    @torch.inference_mode()
    def __init__(self, classifier: Classifier, paths: Sequence[Path]) -> None:
        self.classifier = classifier
        self.spectrogram = classifier.front_end(heard_windows(paths, classifier)[0])

    @torch.inference_mode()
    def __call__(self, paths: Sequence[Path]) -> np.ndarray:
        return self.classifier.task.probabilities(self.classifier.classify(self.spectrogram)).numpy()


def heard_windows(paths: Sequence[Path], classifier: Classifier) -> tuple[Tensor, Tensor]:
    """As `windows_of`, of files."""
    waveform, rate = read(paths)
    return windows_of(resample(torch.from_numpy(waveform), rate, classifier.front_end.sample_rate), classifier)


def windows_of(waveform: Tensor, classifier: Classifier) -> tuple[Tensor, Tensor]:
    """The classifier's windows [W, T] of waveforms at its rate, and which row each is of, int64 [W]: those that an exported file cuts."""
    window = round(classifier.clip_s * classifier.front_end.sample_rate)
    lengths = torch.full([len(waveform)], waveform.shape[1], dtype=torch.int64)
    clip, start = covering_windows(lengths, window, classifier.hop_samples, waveform.shape[1])
    return cut_windows(waveform, lengths, clip, start, window, classifier.short_clips), clip
