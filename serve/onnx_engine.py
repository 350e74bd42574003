"""``model.onnx`` by ONNX Runtime: takes the model's rate only, so that the service resamples."""

import os

import numpy as np

from serve.bundle import Bundle
from serve.errors import StartError
from serve.resample import resample

# It would call a telemetry host some seconds after its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

# Under it a recording has the flag "too_short"; used only for bundles without quality.onnx.
MIN_DURATION_S = 0.1
TOO_SHORT = "too_short"


class OnnxEngine:
    """A bundle's ONNX file.

    Args:
        bundle: checked.
        threads: of one call.

    Raises:
        StartError: the file does not open, or the bundle does not state its rate.
    """

    def __init__(self, bundle: Bundle, threads: int) -> None:
        about = bundle.description.get("onnx") or {}
        if "sample_rate" not in about:
            raise StartError("The bundle's model.json does not state the rate of model.onnx ('onnx.sample_rate'): export the bundle again.")
        self._rate = int(about["sample_rate"])
        self._too_short = {name: int(bit) for bit, name in bundle.description["flags"].items()}.get(TOO_SHORT, 0)
        try:
            self._session = session(bundle.model, threads)
            self._judge = None if bundle.quality is None else session(bundle.quality, threads)
        except Exception as error:
            version = onnxruntime.__version__
            raise StartError(
                f"The bundle's model.onnx or quality.onnx does not open with onnxruntime {version}: see model.json's 'tested_with'."
            ) from error

    def answer(
        self, waveform: np.ndarray, sample_rate: int, lengths: np.ndarray, metadata: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `serve.engine.Engine`."""
        if sample_rate == self._rate:
            probabilities, flags = self._session.run(["probabilities", "flags"], self._inputs(waveform, lengths, metadata))
            return probabilities, flags
        # Resampling rounds off flat tops and spreads what is not finite, so the recording is judged as it was made.
        flags = self._flags(waveform, sample_rate, lengths, metadata)
        usable = (np.arange(waveform.shape[1]) < lengths[:, np.newaxis]) & np.isfinite(waveform)
        resampled = resample(np.where(usable, waveform, np.float32(0)), sample_rate, self._rate)
        resampled_lengths = -(-lengths * self._rate // sample_rate)
        (probabilities,) = self._session.run(["probabilities"], self._inputs(resampled, resampled_lengths, metadata))
        return probabilities, flags

    def _flags(self, waveform: np.ndarray, sample_rate: int, lengths: np.ndarray, metadata: np.ndarray | None) -> np.ndarray:
        if self._judge is not None:
            rate = np.array([sample_rate], dtype=np.int64)
            return self._judge.run(["flags"], {"waveform": waveform, "lengths": lengths, "sample_rate": rate})[0]
        # ONNX Runtime computes the whole graph, whatever is asked for, so a bundle without the file takes about twice as long.
        (flags,) = self._session.run(["flags"], self._inputs(waveform, lengths, metadata))
        return np.where(lengths < MIN_DURATION_S * sample_rate, flags | self._too_short, flags & ~self._too_short)

    def _inputs(self, waveform: np.ndarray, lengths: np.ndarray, metadata: np.ndarray | None) -> dict[str, np.ndarray]:
        given = {"waveform": waveform, "lengths": lengths}
        return given if metadata is None else {**given, "metadata": metadata}


def session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A file's content, opened with `session_options`."""
    return onnxruntime.InferenceSession(graph, session_options(threads), providers=["CPUExecutionProvider"])


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Settings of ONNX Runtime: ``threads`` for one call, which wait for work within a call without sleeping, but not after it.

    By default they go on for a while after it, and take the processor from what decodes and resamples the next recording.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options
