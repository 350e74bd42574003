"""What a report says of single patients and single clips."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from finetune.evaluation.label_errors import likely_label_errors
from finetune.evaluation.metrics.per_patient import per_patient_summary, per_patient_table
from finetune.evaluation.result import Evaluation
from finetune.report.examples import Examples, examples

# Of metrics.json; label_errors.csv has all.
LISTED = 30


@dataclass(frozen=True)
class ClipDetails:
    """Beside an `Evaluation`.

    Attributes:
        patients: of `per_patient_table`.
        label_errors: of `likely_label_errors`.
        examples: the worst errors; None where they are not wanted.
    """

    patients: pd.DataFrame
    label_errors: pd.DataFrame
    examples: Examples | None

    def as_json(self) -> dict[str, Any]:
        """For metrics.json."""
        by_label = {str(label): len(rows) for label, rows in self.label_errors.groupby("label", sort=False)}
        return {
            "patients": per_patient_summary(self.patients),
            "label_errors": {
                "clips_by_label": by_label,
                "first": self.label_errors.head(LISTED).to_dict("records"),
            },
            "worst_errors": [] if self.examples is None else self.examples.table.to_dict("records"),
        }


def clip_details(evaluation: Evaluation, manifest: pd.DataFrame | None, count: int, sample_rate: int | None) -> ClipDetails:
    """Judge single patients and clips; ``count`` worst errors are read from the files that ``manifest`` names, see `examples`."""
    worst = examples(evaluation, count, manifest, sample_rate) if count else None
    return ClipDetails(per_patient_table(evaluation), likely_label_errors(evaluation.predictions), worst)
