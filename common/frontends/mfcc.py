"""Mel-frequency cepstral coefficients."""

from torch import Tensor

from common.frontends.base import FrontEnd, Normalise, keep_out_of_checkpoints
from common.frontends.filterbank import Engine
from common.frontends.log_mel import LogMel


class Mfcc(FrontEnd):
    """Orthonormal DCT-II over the bands of a log-mel spectrogram: waveforms [B, T] to [B, 1, num_coefficients, 1 + T // hop].

    Built on `LogMel` and not on nnAudio's MFCC, which clips each clip at 80 dB below its peak, has no finite gradient at
    silence and always convolves. With that clipping off the two agree but for the unit: this logarithm is natural, theirs in dB.

    Args:
        sample_rate: Hz.
        num_coefficients: F, of the first coefficients, which hold the coarse shape of the spectrum; at most ``num_mels``.
        n_fft: samples per frame; 256 at 4 kHz are 64 ms.
        hop: samples between frames; 64 at 4 kHz are 16 ms.
        num_mels: mel bands before the DCT.
        f_min_hz: lower edge of the lowest band, Hz.
        f_max_hz: upper edge of the highest band, Hz; half the sample rate where None.
        engine: "fft", "nnaudio" or "auto" (the faster on each device), see `PowerSpectrum`.
        normalise: of the log-mel before the DCT: "clip" (mean 0, deviation 1) or "none", see `LogCompression`.
        floor_db: added inside the logarithm, dB, see `LogCompression`.

    Raises:
        ValueError: more coefficients than mels, or what `LogMel` refuses.
    """

    dct: Tensor

    def __init__(
        self,
        sample_rate: int = 4000,
        num_coefficients: int = 20,
        n_fft: int = 256,
        hop: int = 64,
        num_mels: int = 64,
        f_min_hz: float = 50.0,
        f_max_hz: float | None = None,
        engine: Engine = "auto",
        normalise: Normalise = "clip",
        floor_db: float | None = None,
    ) -> None:
        from torchaudio.functional import create_dct

        super().__init__()
        if not 1 <= num_coefficients <= num_mels:
            raise ValueError(f"num_coefficients is {num_coefficients}, expected 1 to num_mels = {num_mels}")
        self.log_mel = LogMel(sample_rate, n_fft, hop, num_mels, f_min_hz, f_max_hz, engine, normalise, floor_db)
        self.sample_rate, self.hop, self.num_bins = sample_rate, hop, num_coefficients
        self.f_min_hz, self.f_max_hz, self.min_samples = self.log_mel.f_min_hz, self.log_mel.f_max_hz, self.log_mel.min_samples
        self.register_buffer("dct", create_dct(num_coefficients, num_mels, norm="ortho").T.contiguous())
        keep_out_of_checkpoints(self)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        return self.dct @ self.log_mel.spectrogram(waveform)
