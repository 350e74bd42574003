"""What makes a waveform unusable or doubtful: the one judgement that the audit, prediction and the exported file share.

Written in TorchScript's subset of Python, since the exported file contains this very function. TorchScript reads no global
numbers, only defaults of parameters, so that the thresholds below enter the helpers as defaults.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

SILENT = 1
CLIPPED = 2
TOO_SHORT = 4
NOT_FINITE = 8
CONSTANT = 16
FLAG_NAMES = {SILENT: "silent", CLIPPED: "clipped", TOO_SHORT: "too_short", NOT_FINITE: "not_finite", CONSTANT: "constant"}

# Shorter than any wheeze counts as one (80 to 100 ms, CORSA 2000), and shorter than a quarter of a breath.
MIN_DURATION_S = 0.1
# One step of 16 bit to either side: what an open input or dither leaves. The quietest breath sounds reach a hundred steps.
FLAT_STEP = 1.0 / 32768.0
# No encoding is coarser than 8 bit.
COARSEST_STEP = 1.0 / 128.0
# A peak of fewer quantisation steps is blunt by rounding alone.
CLIPPED_MIN_STEPS = 64.0
# Two equal samples can straddle the top of a smooth wave symmetrically, three cannot unless rounding or clipping made them so.
CLIPPED_MIN_RUN = 3
# One or two blunt tops may be chance (slow noise at 8 bit has them): clipping repeats, or lasts.
CLIPPED_MIN_RUNS = 3
CLIPPED_MIN_SHARE = 5e-4
CLIPPED_LASTING_SHARE = 0.05
# Below the top, 5 % of the way to the mean. A sine of 64 steps, whose top is blunt by rounding, has as many samples there as at
# its top; a Gaussian clipped at 2 standard deviations has a quarter, a sine clipped by 2 dB a tenth.
CLIPPED_BAND = 0.05
CLIPPED_MIN_RATIO = 1.5


def flag_names(flags: int) -> list[str]:
    """Names of the bits set in ``flags``, for example 6 -> ["clipped", "too_short"]."""
    return [name for bit, name in FLAG_NAMES.items() if flags & bit]


def quality_flags(waveform: Tensor, lengths: Tensor, sample_rate: int) -> Tensor:
    """Judge each example of a batch; 0 is a waveform without fault.

    Bits: SILENT 1 (never more than one 16-bit step from zero), CLIPPED 2 (its tops are cut flat), TOO_SHORT 4 (under 0.1 s),
    NOT_FINITE 8 (holds NaN or infinity), CONSTANT 16 (as flat as silence, but not at zero). Levels are judged only where
    there are samples and all are finite.

    Judge a waveform as it was recorded: resampling, filtering and mixing channels round off the flat tops.

    Args:
        waveform: full scale is [-1, 1]; any level is judged.
        lengths: valid samples of each example, int64; what lies beyond is ignored.
        sample_rate: Hz.

    Returns:
        Bit mask, int64.

    Shape:
        waveform [B, T], lengths [B] -> [B].
    """
    lengths = lengths.clamp(min=0, max=waveform.shape[1])
    if waveform.shape[1] == 0:
        # Reductions need a dimension that is not empty.
        waveform = pad(waveform, [0, 1])
    partial = any_true(lengths < waveform.shape[1])
    high, low = waveform, waveform
    if partial:
        valid = _valid(lengths, waveform.shape[1])
        high = torch.where(valid, waveform, torch.full_like(waveform, -torch.inf))
        low = torch.where(valid, waveform, torch.full_like(waveform, torch.inf))
    high, low = high.amax(dim=1), low.amin(dim=1)
    finite = _finite(waveform, lengths, high, low)
    judged = finite & (lengths > 0)
    flat, at_zero = _flat(high, low)
    clipped = _clipped_where_likely(waveform, lengths, high, low, judged & ~flat)
    return _bits(judged & flat & at_zero, clipped, _too_short(lengths, sample_rate), ~finite, judged & flat & ~at_zero)


def any_true(mask: Tensor) -> bool:
    """Whether ``mask`` holds a True, by which work is left out where there is nothing to do.

    This makes no branch in a graph that is being exported: it gets the answer True, and does all the work.
    """
    return _exporting() or bool(mask.any())


def _exporting() -> bool:
    if torch.jit.is_scripting():
        return False
    else:
        return torch.compiler.is_exporting()


def _valid(lengths: Tensor, num_samples: int) -> Tensor:
    """Which samples of each example are within its length: bool [B, T]."""
    return torch.arange(num_samples, device=lengths.device).unsqueeze(0) < lengths.unsqueeze(1)


def _finite(waveform: Tensor, lengths: Tensor, high: Tensor, low: Tensor) -> Tensor:
    """Whether all samples within the length are finite, by their highest and lowest values where these tell: [B]."""
    if _exporting():
        # Not every runtime carries a NaN through a maximum.
        return (torch.isfinite(waveform) | ~_valid(lengths, waveform.shape[1])).all(dim=1)
    return (torch.isfinite(high) & torch.isfinite(low)) | (lengths == 0)


def _clipped_where_likely(waveform: Tensor, lengths: Tensor, high: Tensor, low: Tensor, possible: Tensor) -> Tensor:
    """As `_clipped`, of the ``possible`` examples, bool [B]; left out where none has a run: it takes longer than all else, and few do."""
    extreme = (waveform == high.unsqueeze(1)) | (waveform == low.unsqueeze(1))
    likely = _often(extreme) & possible
    # Two conditions, since TorchScript compiles the whole of one.
    if not torch.jit.is_scripting():  # noqa: SIM102
        if torch.compiler.is_exporting():
            return possible & torch.cond(likely.any(), _clipped, _none_clipped, (waveform, lengths, high, low))
    if any_true(likely) and any_true(_run_starts(extreme)):
        return possible & _clipped(waveform, lengths, high, low)
    return _none_clipped(waveform, lengths, high, low)


def _none_clipped(waveform: Tensor, lengths: Tensor, high: Tensor, low: Tensor) -> Tensor:
    return torch.zeros_like(lengths, dtype=torch.bool)


def _clipped(waveform: Tensor, lengths: Tensor, high: Tensor, low: Tensor) -> Tensor:
    """Whether the tops of each waveform [B, T] are cut flat, of one whose highest value within its length is ``high`` [B]: [B]."""
    # One more column, never valid: of one sample there would be no neighbours.
    waveform = pad(waveform, [0, 1])
    valid = _valid(lengths, waveform.shape[1])
    x = torch.where(valid, waveform, torch.zeros_like(waveform))
    mean = x.sum(dim=1) / lengths.clamp(min=1)
    step = _quantisation_step(x, valid)
    return _flat_top(x, valid, high, mean, step) | _flat_top(-x, valid, -low, -mean, step)


def _often(at_value: Tensor, min_run: int = CLIPPED_MIN_RUN) -> Tensor:
    """Whether so many samples are marked in ``at_value``, bool [B, T], that they could be a run: [B]."""
    # Runtimes count integers several times as slowly.
    return at_value.sum(dim=1, dtype=torch.float32) >= min_run


def _run_starts(at_value: Tensor, min_run: int = CLIPPED_MIN_RUN) -> Tensor:
    """Where ``min_run`` samples one after the other are marked in ``at_value``, bool [B, T]: the first of them, [B, T]."""
    samples = at_value.shape[1]
    at_value = pad(at_value, [0, min_run - 1])
    starts = at_value[:, :samples]
    for later in range(1, min_run):
        starts = starts & at_value[:, later : samples + later]
    return starts


def _bits(
    silent: Tensor,
    clipped: Tensor,
    too_short: Tensor,
    not_finite: Tensor,
    constant: Tensor,
    silent_bit: int = SILENT,
    clipped_bit: int = CLIPPED,
    too_short_bit: int = TOO_SHORT,
    not_finite_bit: int = NOT_FINITE,
    constant_bit: int = CONSTANT,
) -> Tensor:
    return (
        silent.long() * silent_bit
        + clipped.long() * clipped_bit
        + too_short.long() * too_short_bit
        + not_finite.long() * not_finite_bit
        + constant.long() * constant_bit
    )


def _too_short(lengths: Tensor, sample_rate: int, min_duration_s: float = MIN_DURATION_S) -> Tensor:
    return lengths < min_duration_s * sample_rate


def _flat(high: Tensor, low: Tensor, step: float = FLAT_STEP) -> tuple[Tensor, Tensor]:
    """Whether a waveform spans no more than dither does, and whether it then lies at zero: two [B]."""
    return high - low <= 2 * step, (high <= step) & (low >= -step)


def _quantisation_step(x: Tensor, valid: Tensor, coarsest: float = COARSEST_STEP) -> Tensor:
    """The step of the encoding, found since normalising a file changes it: [B].

    Levels are multiples of the step, so that neither two neighbouring samples nor a sample and zero differ by less.
    """
    change = (x[:, 1:] - x[:, :-1]).abs()
    change = torch.where(valid[:, 1:] & (change > 0), change, torch.full_like(change, coarsest))
    size = torch.where(valid & (x != 0), x.abs(), torch.full_like(x, coarsest))
    return torch.cat([change, size], dim=1).amin(dim=1).clamp(max=coarsest)


def _flat_top(
    x: Tensor,
    valid: Tensor,
    top: Tensor,
    mean: Tensor,
    step: Tensor,
    min_steps: float = CLIPPED_MIN_STEPS,
    min_run: int = CLIPPED_MIN_RUN,
    min_runs: int = CLIPPED_MIN_RUNS,
    min_share: float = CLIPPED_MIN_SHARE,
    lasting_share: float = CLIPPED_LASTING_SHARE,
    band: float = CLIPPED_BAND,
    min_ratio: float = CLIPPED_MIN_RATIO,
) -> Tensor:
    """Whether the highest value of ``x`` is one that it stays at rather than passes through: [B].

    Samples in runs of ``min_run`` equal highest values are counted, and those in the band just below. A clipped wave piles up
    at its top, whatever its level; an unclipped one thins out towards it.
    """
    run_starts = _run_starts((x == top.unsqueeze(1)) & valid, min_run)
    runs = run_starts[:, :1].sum(dim=1) + (run_starts[:, 1:] & ~run_starts[:, :-1]).sum(dim=1)
    # A run of r samples holds r - min_run + 1 starts.
    in_runs = run_starts.sum(dim=1) + (min_run - 1) * runs
    samples = valid.sum(dim=1)
    enough = ((runs >= min_runs) & (in_runs >= min_share * samples)) | (in_runs >= lasting_share * samples)
    height = top - mean
    near_top = (valid & (x < top.unsqueeze(1)) & (x >= (top - band * height).unsqueeze(1))).sum(dim=1)
    return enough & (height >= min_steps * step) & (in_runs >= min_ratio * near_top)
