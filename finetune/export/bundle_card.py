"""The model card of a bundle: that of the file, and what is known of the clips behind it (Mitchell et al. 2019, section 4)."""

from typing import Any

from finetune.evaluation.metrics.by_group import COLUMNS
from finetune.export.metadata import model_card


def bundle_card(description: dict[str, Any]) -> str:
    """A model card in Markdown from a bundle's model.json."""
    population, limits = description["population"], description["limits"]
    patients = "an unknown number of" if population["patients"] is None else population["patients"]
    lines = [
        model_card(description).rstrip("\n"),
        "",
        "## Intended use",
        "",
        f"Research on recordings of breathing: probabilities of {', '.join(description['labels'])}, for a person who can judge by ear. "
        "It makes **no diagnosis**; no one's treatment may depend on it. It has not been tested in care.",
        "",
        "## Training population",
        "",
        f"{population['clips']} clips of {population['recordings']} recordings of {patients} patients.",
        "",
        "| label | positive | negative | not annotated |",
        "|---|---|---|---|",
        *(f"| {label} | {of['positive']} | {of['negative']} | {of['unknown']} |" for label, of in population["labels"].items()),
        "",
        *_columns(population["columns"]),
        "## Figures by group",
        "",
        *_groups(description["groups"]),
        *_twins(description["twins"]),
        "## Limits",
        "",
        f"- Checked for recordings of {limits['min_s']:g} to {limits['max_s']:g} s at {limits['min_rate_hz']} to "
        f"{limits['max_rate_hz']} Hz.",
        "- Groups that the tables above do not have were not tested; those with few patients hardly.",
        "- The figures are of single folds' models on patients that they never saw, in the same data sets, not of another hospital.",
        f"- Undecided: {_undecided(description)}.",
        "",
    ]
    return "\n".join(lines)


def _columns(columns: dict[str, Any]) -> list[str]:
    if not columns:
        return ["The manifest says nothing of ages, sexes, sites or devices.", ""]
    lines = ["| | | clips | patients |", "|---|---|---|---|"]
    for name, values in columns.items():
        lines += [f"| {COLUMNS[name]} | {_cell(value)} | {of['clips']} | {of['patients']} |" for value, of in values.items()]
    return [*lines, ""]


def _groups(groups: list[dict[str, Any]]) -> list[str]:
    if not groups:
        return ["The manifest has no column that divides the clips into groups.", ""]
    lines = [
        "Out of fold, with 95 % intervals over patients.",
        "",
        "| | | label | patients | clips | positive | AUROC |",
        "|---|---|---|---|---|---|---|",
    ]
    for of in groups:
        figure = of["reason"] if of["auroc"] is None else f"{of['auroc']:.3f}"
        if of["interval"] is not None:
            figure += f" ({of['interval'][0]:.3f} to {of['interval'][1]:.3f})"
        where = f"{COLUMNS[of['column']]} | {_cell(of['value'])} | {of['label']}"
        lines.append(f"| {where} | {of['patients']} | {of['clips']} | {of['positives']} | {figure} |")
    return [*lines, ""]


def _twins(twins: dict[str, Any]) -> list[str]:
    if not twins:
        return []
    lines = ["## Files in fewer bits", ""]
    for kind, about in twins.items():
        if "reason" in about:
            lines.append(f"- **There is no {kind} file**: {about['reason']}.")
    measured = {kind: about["loss"] for kind, about in twins.items() if "loss" in about}
    if measured:
        some = next(iter(measured.values()))
        lines += [
            "",
            f"Loss of AUROC against float32, by single folds' networks on {some['clips']} clips of {some['groups']} {some['over']} that "
            "they held out, with 95 % intervals:",
            "",
            "| | label | AUROC | in fewer bits | loss |",
            "|---|---|---|---|---|",
        ]
    for kind, loss in measured.items():
        lines += [f"| {kind} | {label} | {_lost(of)} |" for label, of in (*loss["labels"].items(), ("macro", loss["macro"]))]
    return [*lines, ""]


def _lost(of: dict[str, Any]) -> str:
    if of["loss"] is None:
        return "not evaluable | | "
    between = "" if of["interval"] is None else f" ({of['interval'][0]:.4f} to {of['interval'][1]:.4f})"
    return f"{of['auroc']:.4f} | {of['reduced_auroc']:.4f} | {of['loss']:.4f}{between}"


def _undecided(description: dict[str, Any]) -> str:
    if description["abstain_limit"] is not None:
        return f"recordings whose highest probability is below {description['abstain_limit']:.3f}"
    bands = {label: band for label, band in description["abstain"].items() if band is not None}
    return ", ".join(f"{label} from {low:.3f} to below {high:.3f}" for label, (low, high) in bands.items()) or "none"


def _cell(value: str) -> str:
    return value.replace("|", "\\|")
