"""The Augmentation interface: first draw who is changed and how, then apply that draw to the whole batch."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.described import Described
from common.errors import UserError

Draw = dict[str, Tensor]


@dataclass(frozen=True)
class Sampler:
    """Random numbers for some examples, made on their device.

    Attributes:
        size: number of examples.
        device: where the numbers are made.
        generator: source of the numbers, on ``device``; the device's global one when None.
    """

    size: int
    device: torch.device
    generator: torch.Generator | None = None

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform numbers in [low, high): float32 [size, *shape]."""
        return torch.rand(self.size, *shape, device=self.device, generator=self.generator) * (high - low) + low

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Numbers in [low, high) whose logarithm is uniform, as suits frequencies: float32 [size, *shape]."""
        return self.uniform(math.log(low), math.log(high), *shape).exp()

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers: float32 [size, *shape]."""
        return torch.randn(self.size, *shape, device=self.device, generator=self.generator)

    def integers(self, end: int, *shape: int) -> Tensor:
        """Uniform integers in [0, end): int64 [size, *shape]."""
        return torch.randint(end, (self.size, *shape), device=self.device, generator=self.generator)


class Augmentation(Described, nn.Module):
    """Waveforms [B, T] -> [B, T], or spectrograms [B, 1, F, N] -> the same, changed per example on their device.

    A subclass writes ``draw_parameters`` and ``change``, which see only the examples to be changed. Drawing is apart from applying, so
    that a draw can be repeated on another batch, tested for its statistics and shown as a picture. Neither may loop over examples,
    move data to the host, or make shapes that depend on data: any of these stalls a GPU.

    With ``p`` below 1, ceil(p B) examples are picked at random and changed, the last of them with probability p B - ceil(p B) + 1
    only. So an example is changed with probability exactly p, while the cost falls with p at shapes that are known beforehand.

    Args:
        p: probability that an example is changed, 0 to 1.

    Raises:
        UserError: ``p`` is no probability.
    """

    def __init__(self, p: float = 1.0) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UserError(f"{type(self).__name__}: p is {p}, expected a probability from 0 to 1.")
        self.p = p

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        """Draw the parameters of ``random.size`` examples, which is the first dimension of each tensor.

        Args:
            x: the batch; only its shape and device may be read.
            random: where the random numbers come from.
        """
        raise NotImplementedError

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        """Change the picked examples ``x`` (float32, autocast off) by the drawn parameters; the shape stays."""
        raise NotImplementedError

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Draw:
        """Draw which examples of a batch are changed, and how.

        Args:
            x: the batch, of which only shape and device are read.
            generator: source of the random numbers, on the device of ``x``; the global one by default.

        Returns:
            The parameters by name, first dimension R, and unless p is 1 also ``rows``, int64 [R], the picked examples, and
            ``chosen``, bool [R], whether a picked example is changed: true but perhaps for the last.
        """
        size = len(x)
        if self.p == 1:
            return self.draw_parameters(x, Sampler(size, x.device, generator))
        picked = max(math.ceil(self.p * size), 1)
        random = Sampler(picked, x.device, generator)
        rows = torch.rand(size, device=x.device, generator=generator).argsort()[:picked]
        # Above 1, and so above any uniform number, for all but the last.
        left = self.p * size - torch.arange(picked, device=x.device)
        chosen = random.uniform(0, 1) < left
        return {"rows": rows, "chosen": chosen, **self.draw_parameters(x, random)}

    def apply_draw(self, x: Tensor, draw: Draw, in_place: bool = False) -> Tensor:
        """Apply a draw; the same draw on the same batch gives the same result, in the shape and type of ``x``.

        Args:
            x: the batch.
            draw: from `draw`.
            in_place: ``x`` may be overwritten with the result, which saves copying the examples that are not changed.
        """
        with torch.autocast(x.device.type, enabled=False):
            return put_back(x, self.change(picked_examples(x, draw).float(), draw), draw, in_place)

    def forward(self, x: Tensor) -> Tensor:
        return self.apply_draw(x, self.draw(x))


def picked_examples(values: Tensor, draw: Draw) -> Tensor:
    """The examples of ``values`` [B, ...] that ``draw`` picked: [R, ...]."""
    return values.index_select(0, draw["rows"]) if "rows" in draw else values


def put_back(values: Tensor, changed: Tensor, draw: Draw, in_place: bool = False) -> Tensor:
    """``values`` [B, ...] with the picked examples that were chosen replaced by ``changed`` [R, ...]; a new tensor unless ``in_place``."""
    changed = changed.to(values.dtype)
    if "rows" not in draw:
        return changed
    # Only the last one may not have been chosen, see `Augmentation.draw`.
    last = draw["rows"][-1:]
    kept = torch.where(per_example(draw["chosen"][-1:], values), changed[-1:], values.index_select(0, last))
    result = values.index_copy_(0, draw["rows"], changed) if in_place else values.index_copy(0, draw["rows"], changed)
    return result.index_copy_(0, last, kept)


def per_example(numbers: Tensor, x: Tensor) -> Tensor:
    """View one number per example, [B], so that it broadcasts over ``x`` [B, ...]."""
    return numbers.view(-1, *[1] * (x.dim() - 1))


def checked_range(
    owner: nn.Module, name: str, bounds: tuple[float, float], low: float = -math.inf, high: float = math.inf
) -> tuple[float, float]:
    """``bounds`` as two floats, refused unless they ascend within [low, high].

    Raises:
        UserError: naming the augmentation, the argument and what was expected.
    """
    if len(bounds) != 2 or not low <= bounds[0] <= bounds[1] <= high:
        limits = "" if (low, high) == (-math.inf, math.inf) else f" within [{low:g}, {high:g}]"
        raise UserError(f"{type(owner).__name__}: {name} is {bounds}, expected two ascending numbers{limits}.")
    return float(bounds[0]), float(bounds[1])


class Chain(Augmentation):
    """Apply augmentations one after the other.

    Args:
        steps: what to apply, in order.
        p: probability that an example passes the steps at all, 0 to 1.
    """

    def __init__(self, steps: list[Augmentation], p: float = 1.0) -> None:
        super().__init__(p)
        self.steps = nn.ModuleList(steps)

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return join_draws([step.draw(x[: random.size], random.generator) for step in self.augmentations()])

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        own = False
        for number, step in enumerate(self.augmentations()):
            step_draw = split_draw(draw, number)
            x = step.apply_draw(x, step_draw, in_place=own)
            # The first step that picks examples makes a tensor that nobody else holds.
            own = own or "rows" in step_draw
        return x

    def augmentations(self) -> list[Augmentation]:
        """The steps, in order."""
        return [step for step in self.steps if isinstance(step, Augmentation)]


def join_draws(draws: list[Draw]) -> Draw:
    """Several draws as one: the parameter ``gain_db`` of the third becomes ``2.gain_db``."""
    return {f"{number}.{name}": value for number, draw in enumerate(draws) for name, value in draw.items()}


def split_draw(draw: Draw, number: int) -> Draw:
    """The draw that `join_draws` was given at position ``number``."""
    prefix = f"{number}."
    return {name.removeprefix(prefix): value for name, value in draw.items() if name.startswith(prefix)}
