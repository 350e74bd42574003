"""``model.pt`` by torch: takes any rate, and resamples inside."""

import io
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from serve.bundle import Bundle
from serve.errors import Refusal, StartError


class TorchEngine:
    """A bundle's TorchScript file.

    Args:
        bundle: checked.
        threads: of torch, in the whole process.

    Raises:
        StartError: the file does not open.
    """

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._threads = threads
        try:
            with warnings.catch_warnings():
                # torch 2.11 says that TorchScript is deprecated; it is what the bundle promises.
                warnings.simplefilter("ignore")
                self._module = torch.jit.load(io.BytesIO(bundle.model), map_location="cpu").eval()
        except RuntimeError as error:
            raise StartError(
                f"The bundle's model.pt does not open with torch {torch.__version__}: see model.json's 'tested_with'."
            ) from error

    def answer(
        self, waveform: np.ndarray, sample_rate: int, lengths: np.ndarray, metadata: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `serve.engine.Engine`."""
        beside = [] if metadata is None else [torch.from_numpy(metadata)]
        return self._asked(self._module, waveform, sample_rate, torch.from_numpy(lengths), *beside)

    def frames(self, windows: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        """See `serve.engine.FrameEngine`."""
        return self._asked(self._module.frames, windows, sample_rate)

    def _asked(
        self, call: Callable[..., tuple[Tensor, Tensor]], waveform: np.ndarray, sample_rate: int, *beside: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        # OpenMP keeps the number for each thread that calls, so it is set where it is used.
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                probabilities, flags = call(torch.from_numpy(waveform), sample_rate, *beside)
        except (RuntimeError, torch.jit.Error) as error:
            if "cannot resample" in str(error):
                raise Refusal("unsupported_rate", f"{sample_rate} Hz has no usable common divisor with the model's rate.") from error
            if "allocate memory" in str(error) or "not enough memory" in str(error):
                raise MemoryError from error
            raise
        return probabilities.numpy(), flags.numpy()
