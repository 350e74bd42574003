"""The page's sections on single patients and single clips: strip plots, likely label errors, the worst errors to listen to."""

import pandas as pd

from common.page.drawing import INK, STYLE, data_uri
from common.page.page import Picture, Table, number
from finetune.evaluation.metrics.per_patient import patient_names, per_patient_summary
from finetune.evaluation.result import Evaluation
from finetune.report.figures import NEGATIVE, POSITIVE

# Rows of the page; the files have all.
SHOWN = 30


def strip_picture(evaluation: Evaluation, patients: pd.DataFrame) -> Picture:
    """Every clip's probability by patient, one panel per label; ``patients`` of `per_patient_table` gives the order."""
    import matplotlib
    from matplotlib.figure import Figure

    predictions, names = evaluation.predictions, patient_names(evaluation.predictions)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 2.6 * len(predictions.labels)), layout="constrained")
        panels = figure.subplots(len(predictions.labels), 1, squeeze=False)[:, 0]
        for column, (label, axes) in enumerate(zip(predictions.labels, panels, strict=True)):
            of_label = patients[patients["label"] == label]
            place = dict(zip(of_label["patient"], range(len(of_label)), strict=True))
            for value, colour, name in ((0, NEGATIVE, "absent"), (1, POSITIVE, "present")):
                rows = predictions.targets[:, column] == value
                x = [place[patient] for patient in names[rows]]
                # Pixels, since ten thousand marks as paths would make the page megabytes larger.
                axes.scatter(
                    x, predictions.probabilities[rows, column], s=9, c=colour, alpha=0.6, linewidths=0, label=name, rasterized=True
                )
            axes.scatter(
                range(len(of_label)), of_label["mean_probability"], s=14, c=INK, marker="_", linewidths=1.2, label="mean", rasterized=True
            )
            axes.axhline(evaluation.thresholds.values[column], color=INK, linestyle="--", linewidth=1)
            axes.axvline(int((of_label["positives"] == 0).sum()) - 0.5, color="#7b8794", linestyle=":", linewidth=1)
            step = max(1, -(-len(of_label) // 80))
            axes.set_xticks(range(0, len(of_label), step), of_label["patient"].iloc[::step], rotation=90, fontsize=6)
            axes.set(title=label, ylabel="Probability", ylim=(-0.02, 1.02), xlim=(-1, max(len(of_label), 1)))
            axes.grid(axis="x", visible=False)
            axes.legend(loc="upper left", ncols=3, fontsize=7)
        source = data_uri(figure)
    return Picture(
        "Every clip's probability, patient by patient. Left of the dotted line: patients without a positive clip; each side by mean "
        "probability. Dashed: the export's threshold. Of many patients, not every name is written.",
        source,
        f"Strip plots of the probabilities by patient for {', '.join(predictions.labels)}; the figures are in per_patient.csv.",
    )


def patient_table(patients: pd.DataFrame) -> Table:
    """How the patients fare, one row per label."""
    rows = [[label, *(number(found[name]) for name in found)] for label, found in per_patient_summary(patients).items()]
    head = ["Label", "Patients", "With a positive clip", "Median share right", "Lowest share right", "Mostly wrong"]
    return Table(
        "Share of a patient's clips decided right, and AUROC within patients", [*head, "Patients with both classes", "Mean AUROC"], rows
    )


def label_error_table(errors: pd.DataFrame) -> Table:
    """The first rows of `likely_label_errors`."""
    rows = []
    for row in errors.head(SHOWN).to_dict("records"):
        annotated = "present" if row["annotated"] else "absent"
        words = [str(row["clip_id"]), str(row["patient"]) or "-", str(row["label"]), annotated]
        rows.append([*words, number(row["probability"]), number(row["disagreement"])])
    head = ["Clip", "Patient", "Label", "Annotated", "Probability that it is present", "Disagreement"]
    return Table(f"The {len(rows)} strongest of {len(errors):,} disagreements", head, rows)
