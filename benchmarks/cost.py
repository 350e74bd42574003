"""What the recipes of the benchmark on real recordings cost, and how that grows with the number of recordings.

Each command runs in a process of its own, as a person would start it, on parts of a manifest or on made recordings, in a temporary folder
that is removed. Decoding counts to every recipe, since each alone would need it.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.commands import call
from common import cli
from common.errors import UserError
from common.progress import say

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.latency.own_process import Ended

NUM_FOLDS = 5
# Of a made recording: most of SPRSound's last this long, at this rate.
SECONDS, SAMPLE_RATE = 9.2, 8000
CLIPS_PER_PATIENT = 8
# A set that is not run: what the lines say of it.
PAPER = 50_000


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    add = parser.add_argument
    add("--manifest", type=Path, help="audited manifest whose first patients in a random order are taken; made recordings by default")
    add("--events", type=Path, help="manifest of its annotated events; without any the same is trained, on less")
    add("--weights", type=Path, help="mn04_as_mAP_432.pt; random weights by default, which take as long")
    add("--sizes", type=int, nargs="+", default=[500, 1000, 2000], help="numbers of clips (default: 500 1000 2000)")
    add("--seconds", type=float, default=SECONDS, help="length of a made recording, s (default: %(default)s)")
    add("--folder", type=Path, help="where the temporary folder is made: 0.8 MB per clip; the system's own place by default")
    options = parser.parse_args(args)
    return cli.conclude(lambda: cost(options))


def cost(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all recipes at all sizes; returns the figures that are printed last."""
    from benchmarks.lungs.growth import growth
    from benchmarks.lungs.recipes import RECIPES
    from common.provenance import git_commit, machine, versions

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="auscult-", dir=options.folder) as name:
        manifest = options.manifest or _made(Path(name), max(options.sizes), options.seconds)
        for size in sorted(options.sizes):
            part = Path(name) / f"{size}"
            rows += measured(_part(manifest, size), part, options.weights, options.events)
            shutil.rmtree(part)
    grown = {recipe: growth([row for row in rows if row["recipe"] == recipe], PAPER) for recipe in RECIPES}
    kind = {"machine": machine(), "commit": git_commit(), "versions": versions()}
    return {"recordings": "made" if options.manifest is None else "of a manifest", "rows": rows, "growth": grown, **kind}


def measured(clips: "pd.DataFrame", folder: Path, weights: Path | None, events: Path | None) -> list[dict[str, Any]]:
    """One row per recipe: its commands together, wall and processor time added, the largest of their peaks of memory.

    Args:
        clips: part of a manifest.
        folder: for all that is made.
        weights: of the encoder; None for random ones.
        events: annotated in their recordings; None where there are none.
    """
    from benchmarks.latency.own_process import COMMAND, ended
    from benchmarks.lungs.recipes import MEMBERS, RECIPES, TAUGHT
    from benchmarks.lungs.runs import WEIGHTS
    from common.manifest import write_manifest

    manifest, folds, store = folder / "manifest.csv", folder / "folds.csv", folder / "store"
    folder.mkdir()
    write_manifest(manifest, clips)
    call("finetune", "folds", "--manifest", manifest, "--out", folds, "--num-folds", NUM_FOLDS)
    data = ("--data.manifest", manifest, "--data.folds", folds, "--data.store", store)
    known = () if weights is None else (WEIGHTS, weights)
    decoded = ended(COMMAND, "common", "store", "--manifest", manifest, "--out", store, "--sample-rate", 32000)
    members = {}
    for member, config in MEMBERS.items():
        more = (*known, "--data.events", events) if member == TAUGHT and events else known
        members[member] = ended(COMMAND, "finetune", "baseline", "-c", config, *data, *more, "--out", folder / member)
    rows = []
    for name, recipe in RECIPES.items():
        ends = [decoded, *(members[member] for member in recipe.members)]
        if len(recipe.members) > 1:
            runs = json.dumps([str(folder / member) for member in recipe.members])
            ends.append(ended(COMMAND, "finetune", "ensemble", "--runs", runs, "--rule", "stacked", "--out", folder / name))
        rows.append(row := _row(name, len(clips), ends))
        say(f"{name:>10}: {len(clips)} clips in {row['minutes']:.2f} minutes, {row['clips_per_s']:.1f} clips/s, {row['peak_mb']:.0f} MB")
    return rows


def _row(recipe: str, clips: int, ends: Sequence["Ended"]) -> dict[str, Any]:
    seconds = sum(end.seconds for end in ends)
    return {
        "recipe": recipe,
        "clips": clips,
        "minutes": round(seconds / 60, 3),
        "clips_per_s": round(clips / seconds, 2),
        "processor_s": round(sum(end.processor_s for end in ends), 2),
        "peak_mb": max(end.peak_mb for end in ends),
    }


def _made(folder: Path, clips: int, seconds: float) -> Path:
    """The manifest of at least ``clips`` made recordings."""
    made = ("--patients", -(-clips // CLIPS_PER_PATIENT), "--clips-per-patient", CLIPS_PER_PATIENT, "--seconds", seconds)
    call("common", "synthetic", "--out", folder / "made", *made, "--sample-rate", SAMPLE_RATE)
    call("common", "manifest", "takehome", "--root", folder / "made", "--out", folder / "made.csv")
    return folder / "made.csv"


def _part(manifest: Path, size: int) -> "pd.DataFrame":
    """The clips of the first patients in a random order, ``size`` of them, or all where there are fewer."""
    import numpy as np

    from common.manifest import groups, read_manifest

    if size < NUM_FOLDS:
        raise UserError(f"--sizes has {size}: expected at least {NUM_FOLDS} clips, one per fold.")
    table = read_manifest(manifest)
    names = groups(table)
    order = {name: place for place, name in enumerate(np.random.default_rng(0).permutation(np.unique(names)))}
    return table.iloc[np.argsort([order[name] for name in names], kind="stable")[:size]].reset_index(drop=True)


if __name__ == "__main__":
    main()
