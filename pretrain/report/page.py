"""Fill the report's page: what is shown, in which order, in which words. How it looks is in report.html."""

import base64
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.manifest import groups
from common.page.page import Picture, fill, number
from pretrain.report.clips import Shown, label_names
from pretrain.report.embedding_map import FEWEST_CLIPS, lay_out
from pretrain.report.figures import curves_figure, map_figure
from pretrain.report.run import Run


def render(run: Run, shown: Shown | None, leaks: dict[str, float], notes: list[str], most_colours: int) -> str:
    """The page as one HTML text that needs no other file and no network.

    Args:
        run: the run.
        shown: clips of the map, None for no map.
        leaks: leakage of these clips.
        notes: what could not be shown, and why.
        most_colours: of the map.
    """
    laid_out = _map(run, shown, most_colours) if shown is not None else None
    return fill(
        "pretrain.report",
        name=run.path.resolve().name,
        summary=_summary(run),
        notes=notes,
        cards=_cards(run, leaks),
        curves=Picture(
            "Means over each epoch.", curves_figure(run.metrics), "Curves of all logged metrics; their values are in metrics.csv."
        ),
        views=None if run.views is None else _views(run.views),
        map=laid_out,
        data=_data_facts(run),
        provenance=_provenance_facts(run),
    )


def _summary(run: Run) -> str:
    planned = run.config["trainer"].get("max_epochs")
    state = f"{run.epochs} epochs" if run.figures is not None else f"{run.epochs} of {planned} epochs so far"
    encoder = str(run.config["model"]["encoder"]["class_path"]).rpartition(".")[2]
    return (
        f"{encoder}, {state}: the training loss is {number(run.last('train/loss'))}, on validation patients {number(run.last('val/loss'))}."
    )


def _cards(run: Run, leaks: dict[str, float]) -> list[tuple[str, str, str]]:
    """(what, figure, how it is meant) of the page's first row."""
    last = run.metrics.groupby("metric")["value"].last()
    probes = [float(value) for name, value in last.items() if str(name).startswith("val/linear_auroc/")]
    device, patient = (leaks.get(name, run.last(f"val/{name}")) for name in ("leak_device", "leak_patient"))
    return [
        ("Loss, validation", number(run.last("val/loss")), f"training {number(run.last('train/loss'))}"),
        ("Effective rank", number(run.last("val/effective_rank"), 1), f"standard deviation {number(run.last('val/embedding_std'))}"),
        ("Linear probe, mean AUROC", number(float(np.mean(probes)) if probes else None), f"{len(probes)} labels; 0.5 is chance"),
        ("Leakage of the patient", number(patient), f"of the device {number(device)}; 0 is chance, 1 is always right"),
    ]


def _views(png: bytes) -> Picture:
    source = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    caption = "Clips of the first batch as training sees them, each by its clip_id: left the first view, right the second."
    return Picture(caption, source, "Spectrograms of pairs of views.")


def _map(run: Run, shown: Shown, most_colours: int) -> Picture | None:
    if len(shown.table) < FEWEST_CLIPS:
        return None
    colours = {
        "Label": label_names(shown.table, run.config["data"]["probe_labels"]),
        "Device": shown.table["device"].to_numpy(dtype=str),
        "Patient": shown.table["patient"].to_numpy(dtype=str),
    }
    known = {title: values for title, values in colours.items() if (values != "").any()}
    if not known:
        known = {"Clips": np.full(len(shown.table), "")}
    caption = (
        f"{len(shown.table):,} {shown.source}. PCA, then t-SNE of the embeddings: neighbours are alike, but far distances and the sizes "
        "of groups mean nothing."
    )
    picture = map_figure(lay_out(shown.embeddings), known, most_colours)
    return Picture(caption, picture, f"Map of embeddings coloured by {', '.join(title.lower() for title in known)}.")


def _data_facts(run: Run) -> dict[str, str]:
    """Whom the encoder heard, by the run's own record and, where it is still there, the manifest or the shards' table."""
    data = run.config["data"]
    facts = {"Shards": Path(data["shards"]).name} if run.streamed else {"Manifest": Path(data["manifest"]).name}
    for key in ("clips", "patients", "recordings", "hours"):
        facts[f"{key.capitalize()} heard"] = number((run.figures or {}).get(key), 2)
    try:
        train, validation, probe = run.data().parts()
    except UserError:
        gone = "the shards are not where they were" if run.streamed else "the manifest is not where it was"
        return facts | {"To train on": f"not known: {gone}"}
    facts["To train on"] = _who(train)
    facts["For validation"] = _who(validation)
    if probe is not None:
        facts["Probed, not heard"] = f"{_who(probe)}, of {Path(data['probe_manifest']).name}"
    if data.get("exclude_folds"):
        facts["Left out"] = f"fold {data['exclude_fold']} of {Path(data['exclude_folds']).name}"
    return facts


def _who(table: Any) -> str:
    return f"{len(table):,} clips of {groups(table).nunique():,} patients" if len(table) else "none"


def _provenance_facts(run: Run) -> dict[str, str]:
    """Settings, commit, data hash and versions, as encoder.pt has them."""
    made = run.encoder.provenance if run.encoder is not None else {}
    model = run.config["model"]
    facts = {
        "Front end": _described(model["front_end"]),
        "Encoder": _described(model["encoder"]),
        "Clip length, s": str(model["clip_s"]),
        "Views": str(model["views"]),
        "Objective": _described(model["objective"]),
        "Batch size": str(run.config["data"]["batch_size"]),
        "Seed": str(run.config["seed_everything"]),
        "Training time, minutes": number((run.figures or {}).get("minutes"), 1),
    }
    for key, title in (("git_commit", "Commit"), ("data_hash", "Data hash"), ("time", "Ended, UTC")):
        facts[title] = str(made.get(key) or "not recorded")
    machine = made.get("machine") or {}
    facts["Machine"] = ", ".join([str(machine.get("cpu", "not recorded")), *machine.get("gpus", [])])
    facts["Versions"] = ", ".join(f"{name} {version}" for name, version in (made.get("versions") or {}).items()) or "not recorded"
    return facts


def _described(part: dict[str, Any]) -> str:
    given = ", ".join(f"{name}={value}" for name, value in (part.get("init_args") or {}).items() if value is not None)
    return f"{part['class_path'].rpartition('.')[2]}({given})"
