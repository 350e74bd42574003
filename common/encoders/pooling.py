"""Ways to pool a map over frequency and time into one vector: shared by encoders that are trained and features that are not."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from common.encoders.base import Encoder
from common.errors import UserError

# Pooling -> what it makes of a map [B, D, F', N'].
OVER_MAP: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda found: found.mean(dim=(2, 3)),
    "max": lambda found: found.amax(dim=(2, 3)),
    "frequency": lambda found: found.mean(dim=3).flatten(1),
    "frequency_max": lambda found: found.amax(dim=3).flatten(1),
    "frequency_std": lambda found: found.std(dim=3, correction=0).flatten(1),
}
POOLINGS = (*OVER_MAP, "embedding")
OF_LAYERS = ("frequency", "frequency_max", "frequency_std")


def check_pooling(pooling: Sequence[str], layers: Sequence[int]) -> None:
    """Refuse names that are none of `POOLINGS`, and to pool nothing.

    Raises:
        ValueError: with the names that there are.
    """
    if any(name not in POOLINGS for name in pooling) or not (pooling or layers):
        raise ValueError(f"pooling is {list(pooling)}, expected one or more of {', '.join(POOLINGS)}")


def pooled(encoder: Encoder, spectrogram: Tensor, pooling: Sequence[str], layers: Sequence[int]) -> Tensor:
    """The map of ``encoder`` and those of its ``layers``, pooled; one pooling after the other, [B, 1, F, N] to [B, sum of their sizes].

    Args:
        encoder: spectrogram to maps.
        spectrogram: [B, 1, F, N].
        pooling: of the last map: "mean" and "max" (over frequency and time, D each), "frequency", "frequency_max" and "frequency_std"
            (mean, maximum and standard deviation over time at each of the map's frequencies, D x F' each), "embedding" (the encoder's
            own output, D).
        layers: numbers of earlier layers, whose maps follow; each by `OF_LAYERS`.

    Raises:
        UserError: the map has no axis of frequency, or the encoder no such layers.
    """
    found = _of_last(encoder, spectrogram, pooling) if pooling else []
    for layer in encoder.layer_maps(spectrogram, layers) if layers else ():
        found += [OVER_MAP[name](layer) for name in OF_LAYERS]
    return torch.cat(found, dim=1)


def _of_last(encoder: Encoder, spectrogram: Tensor, pooling: Sequence[str]) -> list[Tensor]:
    found = encoder.frequency_map(spectrogram)
    # A traced shape is a tensor; the encoder was tried before it was traced.
    if not torch.jit.is_tracing() and found.shape[2] == 1 and any(name.startswith("frequency") for name in pooling):
        raise UserError(
            f"The map of {type(encoder).__name__} has no axis of frequency left, so there is nothing to pool at each of its "
            "frequencies: leave 'frequency' out of the pooling."
        )
    return [encoder(spectrogram) if name == "embedding" else OVER_MAP[name](found) for name in pooling]
