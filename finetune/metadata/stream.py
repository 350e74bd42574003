"""The metadata stream: numbers and categories of a clip to features, to an embedding beside that of the audio.

What is missing is no special case: a number takes the training clips' median and raises its flag, a category is "unknown". A clip
without any metadata is one in which all is missing, which modality dropout (Neverova et al. 2016, "ModDrop") trains.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from common.described import Described
from common.errors import UserError
from finetune.metadata import columns


class Metadata(Described, nn.Module):
    """Columns of the manifest beside the audio, fused with it before the classifier's head.

    A raw row [M] holds the numbers as they are and each category as its place in the vocabulary, NaN for what is missing. Statistics
    and vocabularies are those of the training clips of the fold; they travel in the checkpoint.

    Args:
        numbers: columns of numbers, for example age_years: standardised, with a flag for missing ones, which take the median.
        categories: columns of categories, for example sex: one-hot, with a column for what is missing or new.
        units: width of the two layers of the stream, and of its embedding.
        modality_dropout: share of training rows whose metadata are withheld as if all were missing, so that the model also answers
            by sound alone; 0 to 1.
        column_dropout: share of single values that are withheld in training, so that a value may be missing that never was; 0 to 1.
        audio: false silences the audio stream: a classifier by metadata alone, to compare with.
        vocabularies: values of categories, by column; a category that is left out has those of the training clips.

    Raises:
        UserError: a column is named twice, or names the clip itself, or a vocabulary is empty or of no category.
        ValueError: a number is out of range.
    """

    median: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        numbers: Sequence[str] = (),
        categories: Sequence[str] = (),
        units: int = 32,
        modality_dropout: float = 0.2,
        column_dropout: float = 0.1,
        audio: bool = True,
        vocabularies: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__()
        self.numbers = tuple(numbers)
        self.categories = tuple(categories)
        self.units = units
        self.modality_dropout = modality_dropout
        self.column_dropout = column_dropout
        self.audio = audio
        self._given = vocabularies or {}
        self._check()
        for name in ("median", "mean"):
            self.register_buffer(name, torch.zeros(len(self.numbers)))
        self.register_buffer("deviation", torch.ones(len(self.numbers)))
        self.vocabularies: dict[str, list[str]] = {}
        self.layers: nn.Module = nn.Identity()
        if set(self.categories) <= set(self._given):
            self._build(self._given)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the M columns, in the order of a raw row."""
        return (*self.numbers, *self.categories)

    def describe(self) -> dict[str, Any]:
        """As `Described.describe`, with the vocabularies of the training clips, on which the shape of the weights depends."""
        description = super().describe()
        if self.vocabularies:
            description["init_args"]["vocabularies"] = {name: list(values) for name, values in self.vocabularies.items()}
        return description

    def check_table(self, table: pd.DataFrame, name: str) -> None:
        """Refuse a table that lacks a column, has text among numbers, or nothing at all in a column.

        Args:
            table: manifest, or part of it.
            name: of it, for messages.

        Raises:
            UserError: naming the column.
        """
        for column in self.columns:
            found = columns.numbers(table, column, name) if column in self.numbers else columns.values(table, column, name) != ""
            known = ~np.isnan(found) if column in self.numbers else found
            if not known.any():
                raise UserError(
                    f"The metadata column {column!r} is empty in all {len(table)} rows of {name}: fill it in, or leave it out of "
                    "model.metadata."
                )

    def check_labels(self, labels: Sequence[str]) -> None:
        """Refuse a column that is one of the ``labels`` to predict, or that they are read from."""
        told = [column for column in self.columns if column in labels]
        if told:
            raise UserError(
                f"model.metadata names {told[0]!r}, which the task's labels are or are read from: what is to be predicted cannot be given."
            )

    def fit(self, training: pd.DataFrame, name: str) -> None:
        """Take statistics and vocabularies from the training clips, and make the layers.

        Args:
            training: manifest rows of the training clips, and of no others.
            name: of them, for messages.

        Raises:
            UserError: a column is not there, or empty in all rows.
        """
        self.check_table(training, name)
        for index, column in enumerate(self.numbers):
            values = columns.numbers(training, column, name)
            self.median[index], self.mean[index] = float(np.nanmedian(values)), float(np.nanmean(values))
            # Equal values say nothing, and are not divided by the rounding error between them.
            self.deviation[index] = float(np.nanstd(values)) if len(set(values[~np.isnan(values)])) > 1 else 1.0
        seen = {column: sorted(set(columns.values(training, column, name)) - {""}) for column in self.categories}
        self._build(seen | self._given)

    def raw(self, table: pd.DataFrame, name: str) -> Tensor:
        """Raw rows of a table's clips, float32 [n, M].

        Raises:
            UserError: a column is not there, or a number is none.
        """
        numbers = [columns.numbers(table, column, name) for column in self.numbers]
        codes = [columns.codes(columns.values(table, column, name), self.vocabularies[column]) for column in self.categories]
        return torch.from_numpy(np.column_stack([*numbers, *codes]).astype(np.float32))

    def encode(self, raw: Tensor) -> Tensor:
        """Raw rows [B, M] to features [B, E]: the standardised numbers, their flags, then each category's one-hot, "unknown" first."""
        numbers = raw[:, : len(self.numbers)]
        missing = ~numbers.isfinite()
        parts = [(torch.where(missing, self.median, numbers) - self.mean) / self.deviation, missing.to(raw.dtype)]
        for index, name in enumerate(self.categories):
            # The last place is that of everything that has none in the vocabulary; NaN is not less than anything.
            place: Tensor = getattr(self, f"place_{index}")
            code, size = raw[:, len(self.numbers) + index], len(self.vocabularies[name])
            column = place[torch.where((code >= 0) & (code < size), code, float(size)).long()]
            parts.append((column.unsqueeze(1) == getattr(self, f"slot_{index}")).to(raw.dtype))
        return torch.cat(parts, dim=1)

    def forward(self, raw: Tensor) -> Tensor:
        """Raw rows [B, M] to embeddings [B, units]; in training some values are withheld."""
        return self.layers(self.encode(self._withheld(raw) if self.training else raw))

    def fuse(self, embedding: Tensor, raw: Tensor | None) -> Tensor:
        """The two streams side by side.

        Args:
            embedding: of the audio, [B, D].
            raw: rows [B, M]; None where nothing is known.

        Returns:
            [B, D + units].
        """
        if raw is None:
            raw = torch.full((len(embedding), len(self.columns)), float("nan"), device=embedding.device)
        return torch.cat([embedding if self.audio else torch.zeros_like(embedding), self(raw)], dim=1)

    def with_vocabularies(self, vocabularies: Mapping[str, Sequence[str]]) -> "Metadata":
        """The same stream for codes of other vocabularies: a value that it was not fitted on is unknown to it."""
        other = copy.deepcopy(self)
        other.vocabularies = {column: list(vocabularies[column]) for column in self.categories}
        for index, column in enumerate(self.categories):
            own = {value: place for place, value in enumerate(self.vocabularies[column], start=1)}
            setattr(other, f"place_{index}", torch.tensor([*(own.get(value, 0) for value in other.vocabularies[column]), 0]))
        return other

    def example(self, rows: int, generator: torch.Generator) -> Tensor:
        """Raw rows [rows, M] as they may come, a quarter of the values missing and some codes unknown."""
        numbers = self.mean + self.deviation * torch.randn(rows, len(self.numbers), generator=generator)
        sizes = torch.tensor([len(self.vocabularies[column]) + 1 for column in self.categories])
        codes = (torch.rand(rows, len(self.categories), generator=generator) * sizes).floor()
        raw = torch.cat([numbers, codes], dim=1)
        return raw.masked_fill(torch.rand(raw.shape, generator=generator) < 0.25, float("nan"))

    def _withheld(self, raw: Tensor) -> Tensor:
        draws = torch.rand(len(raw), 1 + len(self.columns), device=raw.device)
        gone = (draws[:, :1] < self.modality_dropout) | (draws[:, 1:] < self.column_dropout)
        return raw.masked_fill(gone, float("nan"))

    def _build(self, vocabularies: Mapping[str, Sequence[str]]) -> None:
        """Make what depends on the vocabularies: where each code stands in its one-hot, and the layers."""
        self.vocabularies = {column: [str(value) for value in vocabularies[column]] for column in self.categories}
        features = 2 * len(self.numbers)
        for index, column in enumerate(self.categories):
            size = len(self.vocabularies[column])
            self.register_buffer(f"place_{index}", torch.tensor([*range(1, size + 1), 0]), persistent=False)
            self.register_buffer(f"slot_{index}", torch.arange(size + 1), persistent=False)
            features += size + 1
        self.layers = nn.Sequential(nn.Linear(features, self.units), nn.ReLU(), nn.Linear(self.units, self.units), nn.ReLU())

    def _check(self) -> None:
        named = list(self.columns)
        if not named or len(set(named)) != len(named):
            raise UserError(f"model.metadata names the columns {named}: expected one or more, each once, in 'numbers' or 'categories'.")
        telling = [column for column in named if column in columns.IDENTIFYING]
        if telling:
            raise UserError(
                f"model.metadata names {telling[0]!r}, by which a network would know the clip and not what is heard: leave it out."
            )
        if not set(self._given) <= set(self.categories) or not all(self._given.values()):
            raise UserError(
                f"model.metadata has vocabularies for {sorted(self._given)} and the categories {list(self.categories)}: expected one or "
                "more values for each column that is named, and for categories alone; those that are left out are learnt."
            )
        if self.units < 1:
            raise ValueError(f"model.metadata.units is {self.units}, expected at least 1")
        for name, share in (("modality_dropout", self.modality_dropout), ("column_dropout", self.column_dropout)):
            if not 0 <= share < 1:
                raise ValueError(f"model.metadata.{name} is {share:g}, expected at least 0 and less than 1")
