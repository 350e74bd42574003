"""What answers: a model behind one call, whichever library runs it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from serve.bundle import Bundle, read_bundle
from serve.errors import StartError
from serve.frames import check_frames
from serve.golden import check_golden

Backend = Literal["torch", "onnx", "onnx-int8", "onnx-float16"]


class Engine(Protocol):
    """A model that is loaded."""

    def answer(
        self, waveform: np.ndarray, sample_rate: int, lengths: np.ndarray, metadata: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Answer for a batch; a row's answer depends neither on other rows nor on what lies beyond its length.

        Args:
            waveform: float32 [B, T].
            sample_rate: Hz, of all rows.
            lengths: valid samples of each row, int64 [B].
            metadata: float32 [B, M], NaN for what is missing; None for a model that takes none.

        Returns:
            Probabilities float32 [B, L] and the bits of the quality flags int64 [B].

        Raises:
            Refusal: the rate cannot be resampled.
        """
        ...


@runtime_checkable
class FrameEngine(Engine, Protocol):
    """A model that is loaded by a library that can also ask it for frames, where the bundle has any."""

    def frames(self, windows: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Tell the events of each frame.

        Args:
            windows: float32 [B, T], none longer than the bundle's ``clip_s``; a shorter one is filled as in training.
            sample_rate: Hz, of all windows.

        Returns:
            Probabilities float32 [B, N, E], of frames that begin ``frame_s`` apart, and the bits of the quality flags int64 [B].

        Raises:
            Refusal: the rate cannot be resampled.
        """
        ...


@dataclass(frozen=True)
class Model:
    """A bundle and the engine that runs it."""

    bundle: Bundle
    backend: Backend
    engine: Engine

    @property
    def frame_engine(self) -> FrameEngine | None:
        """The engine, where the bundle tells frames and the engine can be asked for them."""
        return self.engine if self.bundle.frames is not None and isinstance(self.engine, FrameEngine) else None


def load_model(folder: Path, backend: Backend, threads: int, sign_key: Path | None = None) -> Model:
    """Read, check and load a bundle, and ask it its golden clips.

    Raises:
        StartError: it is damaged, does not open, does not answer its golden clips as it must, or tells other frames than it says.
    """
    bundle = read_bundle(folder, backend, sign_key)
    engine: Engine
    # Late: only the library that runs the model is imported.
    try:
        if backend == "torch":
            from serve.torch_engine import TorchEngine

            engine = TorchEngine(bundle, threads)
        else:
            from serve.onnx_engine import OnnxEngine

            engine = OnnxEngine(bundle, threads)
    except ImportError as error:
        raise StartError(
            f"--backend {backend} needs a library that is not installed ({error.name}): install it, or choose another."
        ) from error
    check_golden(bundle, engine, folder)
    model = Model(bundle, backend, engine)
    check_frames(model, folder)
    return model
