"""The Encoder interface: spectrogram to one vector per clip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.described import Described
from common.errors import UserError


class Encoder(Described, nn.Module):
    """Spectrogram [B, 1, F, N] to embedding [B, D].

    A subclass sets ``num_features`` and writes ``feature_map``.

    Attributes:
        num_features: D.
    """

    num_features: int

    def feature_map(self, spectrogram: Tensor) -> Tensor:
        """Map spectrograms [B, 1, F, N] to features over time [B, D, N'], for heads that pool by themselves."""
        raise NotImplementedError

    def frequency_map(self, spectrogram: Tensor) -> Tensor:
        """Map spectrograms [B, 1, F, N] to features over frequency and time [B, D, F', N'], whose mean over frequency is the feature map.

        F' is 1 where an encoder has no axis of frequency at its end, as one that is recurrent or convolves over time alone.
        """
        return self.feature_map(spectrogram).unsqueeze(2)

    def layer_maps(self, spectrogram: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Maps over frequency and time that ``layers`` leave, numbered from the input, each [B, C, F', N'] with sizes of its own.

        Raises:
            UserError: this encoder has no layers by number, or not so many.
        """
        raise UserError(f"{type(self).__name__} has no layers that are told apart by number: leave 'layers' out.")

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Map spectrograms [B, 1, F, N] to embeddings [B, D]: the feature map's mean over time, where a subclass says nothing else."""
        return self.feature_map(spectrogram).mean(dim=-1)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """Parameters from input to output in groups of like depth, for layer-wise learning-rate decay; one group by default."""
        return [list(self.parameters())]

    def describe(self) -> dict[str, Any]:
        """As `Described.describe`, without the file named by an argument ``weights``: whoever rebuilds it brings weights along."""
        description = super().describe()
        if "weights" in description["init_args"]:
            description["init_args"]["weights"] = None
        return description


def open_weights(path: str | Path) -> Any:
    """What ``torch.save`` wrote to ``path``, on the CPU, without running code from it.

    Raises:
        UserError: no such file, or torch cannot open it as weights alone.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"No weights at {path}: expected a file there; check the path.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # arbitrary bytes make the unpickler fail in any way: IndexError, struct.error, UnicodeDecodeError, ...
        raise UserError(f"{path} cannot be opened as weights ({type(error).__name__}): it is damaged or another kind of file.") from error


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The parameters in a file that ``torch.save`` or safetensors wrote, alone or under ``state_dict`` or ``model`` of a checkpoint.

    Raises:
        UserError: no such file, or it holds no parameters by name.
    """
    path = Path(path)
    if path.suffix == ".safetensors" and path.is_file():
        state: Any = _open_safetensors(path)
    else:
        with torch.serialization.safe_globals(_array_globals()):
            state = open_weights(path)
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state dict: expected parameter names with tensors.")
    return state


def _array_globals() -> list[Any]:
    """What a pickle of a numpy array of whole numbers names, today and before numpy 2: some of PANNs' files hold their sampler's state."""
    import numpy as np
    from numpy._core.multiarray import _reconstruct  # type: ignore[attr-defined]

    made_by = [(_reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    return [*made_by, np.ndarray, np.dtype, np.dtypes.Int64DType]


def _open_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} cannot be opened as weights: {error}.") from error


def load_weights(module: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Load ``state`` into ``module``; a key that is missing, unexpected or of another shape is refused by name.

    Args:
        module: what receives the weights.
        state: parameter name -> tensor.
        source: where the weights came from, for the message.

    Raises:
        UserError: naming the first keys that do not fit.
    """
    own = module.state_dict()
    missing = sorted(set(own) - set(state))
    unexpected = sorted(set(state) - set(own))
    reshaped = [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    for what, keys in (("lacks", missing), ("has unexpected", unexpected), ("has other shapes:", reshaped)):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise UserError(f"The weights of {source} do not fit this {type(module).__name__}: it {what} {', '.join(keys[:3])}{more}.")
    module.load_state_dict(state)
