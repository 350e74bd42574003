"""One recording file to the 16-bit samples that the store keeps."""

from pathlib import Path

import numpy as np
import torch

from common.audio.read import read_audio, to_mono
from common.audio.resample import KAISER_BETA, LOWPASS_FILTER_WIDTH, ROLLOFF, resample
from common.errors import UserError

# Everything that decides which samples come out of a file, besides the sample rate. Raise the number when `decode` changes.
SETTINGS = f"store 2, mono by mean, kaiser {LOWPASS_FILTER_WIDTH} {ROLLOFF} {KAISER_BETA}, int16"

LARGEST = 32767
PCM_16_SCALE = 2.0**-15
AUDIT_HINT = "'python -m common audit' lists every such file and writes a manifest without them"


def decode(path: str | Path, sample_rate: int) -> tuple[np.ndarray, float]:
    """Read a recording, average its channels, resample it to ``sample_rate`` (Hz) and quantise it.

    Returns:
        samples: int16 [T].
        scale: what one step of ``samples`` is worth, see `quantise`.

    Raises:
        UserError: the file is missing, is not audio, holds no samples, or holds NaN or infinity.
    """
    try:
        waveform, file_rate = read_audio(path)
        if waveform.shape[1] == 0:
            raise UserError(f"{path} holds no samples.")
        mono = resample(torch.from_numpy(to_mono(waveform)), file_rate, sample_rate).numpy()
        # A NaN or an infinity in the file survives the mean and the filter, so one look at the end is enough.
        if not np.isfinite(mono).all():
            raise UserError(f"{path} holds samples that are not finite numbers.")
    except UserError as error:
        raise with_audit_hint(error) from error
    return quantise(mono)


def quantise(waveform: np.ndarray) -> tuple[np.ndarray, float]:
    """Round float32 [T], finite, to int16 [T] and a scale with ``waveform ~= samples * scale``.

    What is 16-bit audio already (native rate, one channel) keeps its samples and the scale 2**-15: the store is lossless there.
    Anything else is scaled to its own peak, so that a quiet recording keeps its resolution; the error is at most scale / 2.
    """
    as_pcm = waveform * np.float32(1 / PCM_16_SCALE)
    if np.array_equal(as_pcm, np.rint(as_pcm)) and as_pcm.max() <= LARGEST and as_pcm.min() >= -LARGEST - 1:
        return as_pcm.astype(np.int16), PCM_16_SCALE
    peak = float(np.abs(waveform).max())
    # Readers multiply by the scale as float32: round it first. The floor keeps it above zero for denormal recordings.
    scale = float(np.float32(max(peak / LARGEST, float(np.finfo(np.float32).tiny))))
    return np.rint(waveform.astype(np.float64) / scale).astype(np.int16), scale


def with_audit_hint(error: UserError) -> UserError:
    """The same complaint about a file, with the command that finds all files like it."""
    return UserError(f"{str(error).rstrip('.')}; {AUDIT_HINT}.")
