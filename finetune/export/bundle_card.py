"""The model card of a bundle: that of the file, and what is known of the clips behind it (Mitchell et al. 2019, section 4)."""

from typing import Any

from finetune.evaluation.by_group import COLUMNS
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
        "## Limits",
        "",
        f"- Checked for recordings of {limits['min_s']:g} to {limits['max_s']:g} s at {limits['min_rate_hz']} to "
        f"{limits['max_rate_hz']} Hz.",
        "- Groups that the tables above do not have were not tested; those with few patients hardly.",
        "- The figures are of single folds' models on patients that they never saw, in the same data sets, not of another hospital.",
        f"- Undecided, by the abstain bands: {_bands(description['abstain'])}.",
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


def _bands(bands: dict[str, list[float] | None]) -> str:
    known = [f"{label} from {band[0]:.3f} to below {band[1]:.3f}" for label, band in bands.items() if band is not None]
    return ", ".join(known) if known else "none"


def _cell(value: str) -> str:
    return value.replace("|", "\\|")
