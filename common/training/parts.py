"""Front end, encoder and augmentations that do not fit each other are refused before anything is trained."""

import torch

from common.augment.base import Augmentation
from common.encoders.base import Encoder
from common.errors import UserError
from common.frontends.base import FrontEnd


def check_parts(front_end: FrontEnd, encoder: Encoder, clip_s: float, *augmentations: Augmentation | None) -> None:
    """Refuse a model whose parts do not fit.

    Args:
        front_end: states the sample rate, Hz, that all parts share.
        encoder: must take the spectrogram of one window, which is tried.
        clip_s: length of a window, s.
        augmentations: those that state a sample rate must state the front end's.

    Raises:
        UserError: naming the part, what it is set to and what was expected.
    """
    rate = front_end.sample_rate
    for part in (each for augmentation in augmentations if augmentation is not None for each in augmentation.modules()):
        found = getattr(part, "sample_rate", rate)
        if found != rate:
            raise UserError(
                f"The augmentation {type(part).__name__} is set to {found} Hz but the front end takes {rate} Hz: "
                "set its sample_rate to the front end's."
            )
    samples = round(clip_s * rate)
    if samples < front_end.min_samples:
        shortest_s = front_end.min_samples / rate
        raise UserError(f"model.clip_s is {clip_s:g}, expected at least {shortest_s:.3f} s, the shortest that the front end takes.")
    training = encoder.training
    try:
        with torch.no_grad():
            found = encoder.eval()(front_end(torch.zeros(1, samples))).shape[1]
    except (RuntimeError, ValueError) as error:
        size = f"{front_end.num_bins} bins and {front_end.num_frames(samples)} frames"
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(f"The encoder {type(encoder).__name__} does not take the front end's spectrograms of {size}: {reason}.") from error
    finally:
        encoder.train(training)
    if found != encoder.num_features:
        raise UserError(
            f"The encoder {type(encoder).__name__} was made for {encoder.num_features} features and has {found} of the front end's "
            f"{front_end.num_bins} bins: set its num_bins to {front_end.num_bins}."
        )
