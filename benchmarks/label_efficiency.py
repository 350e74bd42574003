"""What a label is worth after which start: AUROC on held-out patients against the share of labelled training patients.

Four starts of one network behind one front end (EfficientAT mn04): random weights, SimCLR on the unlabelled training patients, AudioSet,
and SimCLR continued from AudioSet. Interrupted or out of ``--minutes``, the same command goes on where it stopped; a table and a picture
are written from whatever is finished.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.labels.picture import draw
from benchmarks.labels.starts import STARTS, Start
from benchmarks.labels.table import differences, markdown, summarise
from common import cli
from common.errors import UserError
from common.files import write_csv, write_text
from common.progress import say
from common.provenance import git_commit, machine

if TYPE_CHECKING:
    from benchmarks.labels.experiment import Experiment

ROOT = Path(__file__).resolve().parents[1]
NAME = "label_efficiency"


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    options = _parser().parse_args(args)
    return cli.conclude(lambda: label_efficiency(options))


def label_efficiency(options: argparse.Namespace) -> dict[str, Any]:
    """Train what is not yet trained, as far as the time goes, and write what is known; returns the figures that are printed last."""
    # Late: torch takes seconds to import, which --help should not.
    from benchmarks.labels.experiment import Experiment

    _check(options)
    experiment = Experiment(options)
    deadline = time.monotonic() + 60 * options.minutes
    plan = [(seed, start, share) for seed in options.seeds for start in STARTS for share in options.shares]
    points, missing = [], []
    for number, (seed, start, share) in enumerate(plan, start=1):
        what = f"seed {seed}, {start.title}, {share:g} %"
        if not all(_in_time(run, deadline) for run in _runs(experiment, seed, start, share)):
            missing.append(what)
            continue
        points.append(experiment.point(seed, start, share))
        area = points[-1]["macro_auroc"]
        say(f"{number} of {len(plan)}: {what}: {points[-1]['remark'] if area is None else f'macro AUROC {area:.3f}'}")
    return _write(options, pd.DataFrame(points), missing)


def _runs(experiment: "Experiment", seed: int, start: Start, share: float) -> list[Callable[[], None]]:
    """The runs of a point that are not finished, in their order."""
    if experiment.is_done(seed, start, share):
        return []
    pretraining = [partial(experiment.pretrain, seed, start)] if start.simclr and not experiment.is_done(seed, start) else []
    return [*pretraining, partial(experiment.finetune, seed, start, share)]


def _in_time(run: Callable[[], None], deadline: float) -> bool:
    """Do a run, unless the time is used up; returns whether it was done."""
    if time.monotonic() >= deadline:
        return False
    run()
    return True


def _write(options: argparse.Namespace, points: pd.DataFrame, missing: list[str]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "machine": machine(),
        "commit": git_commit(),
        "complete": not missing,
        "points": len(points),
        "missing": missing,
    }
    if points.empty:
        say("Nothing is finished yet, so there is no table.")
        return figures
    summary, gains = summarise(points), differences(points)
    page = markdown(points, _remarks(options, points, missing))
    write_csv(options.out / f"{NAME}_points.csv", points)
    write_csv(options.out / f"{NAME}.csv", summary)
    write_text(options.out / f"{NAME}.md", page)
    draw(summary, options.out / f"{NAME}.svg")
    say(
        f"\n{page}\nTable and picture: {options.out / NAME}.md, .csv and .svg"
        + (f"; {len(missing)} points are missing." if missing else ".")
    )
    return figures | {"curve": _records(summary), "differences": _records(gains), "table": str(options.out / f"{NAME}.md")}


def _remarks(options: argparse.Namespace, points: pd.DataFrame, missing: list[str]) -> dict[str, str]:
    kind = machine()
    remarks = {
        "command": f"`{_command(options)}`",
        "machine": f"{kind['cpu']}, {kind['cpu_count']} cores, {', '.join(kind['gpus']) or 'no GPU'}",
        "commit": git_commit() or "none",
        "settings": f"crops of {options.clip_s:g} s; every point {options.finetune_steps} steps of {options.finetune_batch} clips; "
        f"SimCLR {options.pretrain_epochs} epochs in batches of {options.pretrain_batch} clips; {options.precision}",
        "time of fine-tuning": f"{points['seconds'].sum() / 60:.1f} minutes",
        "held out": f"seed s holds out fold s mod {options.num_folds}: the spread is over seeds and over held-out patients",
    }
    return remarks | ({"missing": "; ".join(missing)} if missing else {})


def _command(options: argparse.Namespace) -> str:
    """The command that makes this table, without the folders of this machine."""
    words = ["python -m benchmarks.label_efficiency"]
    for action in _parser()._actions:
        value = getattr(options, action.dest, None)
        if action.dest in ("help", "minutes") or value == action.default:
            continue
        values = value if isinstance(value, list) else [value]
        words += [action.option_strings[0], *(_portable(each) for each in values)]
    return " ".join(words)


def _portable(value: object) -> str:
    if isinstance(value, Path) and value.is_absolute():
        return value.name
    return f"{value:g}" if isinstance(value, float) else str(value)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(table.round(4).to_json(orient="records"))


def _check(options: argparse.Namespace) -> None:
    if not options.weights.is_file():
        raise UserError(f"No weights at {options.weights}: expected EfficientAT's mn04_as_mAP_432.pt, see docs/pretraining.md.")
    if not all(0 < share <= 100 for share in options.shares):
        raise UserError(f"--shares is {' '.join(f'{share:g}' for share in options.shares)}, expected percents above 0 and up to 100.")
    if min(options.seeds) < 0:
        raise UserError(f"--seeds has {min(options.seeds)}, expected numbers from 0.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.label_efficiency", description=__doc__)
    add = parser.add_argument
    add("--manifest", type=Path, required=True, help="labelled recordings that name their patients, audited")
    add("--weights", type=Path, required=True, help="AudioSet weights of EfficientAT: mn04_as_mAP_432.pt")
    add("--out", type=Path, default=Path("runs/label_efficiency"), help="folder for runs, table and picture (default: %(default)s)")
    add("--store", type=Path, help="waveform store (default: 'store' beside the manifest)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seed s holds out fold s mod --num-folds (default: 0 1 2)")
    add("--shares", type=float, nargs="+", default=[5, 10, 25, 50, 100], help="labelled training patients, %% (default: 5 10 25 50 100)")
    add("--num-folds", type=int, default=5, help="folds of patients (default: %(default)s)")
    add("--clip-s", type=float, default=4.0, help="length of a crop, s (default: %(default)s)")
    add("--pretrain-epochs", type=int, default=8, help="of each SimCLR run (default: %(default)s)")
    add("--pretrain-batch", type=int, default=64, help="clips per batch, each in two views (default: %(default)s)")
    add("--finetune-steps", type=int, default=300, help="of every point, whatever its share (default: %(default)s)")
    add("--finetune-batch", type=int, default=16, help="clips per batch (default: %(default)s)")
    add("--precision", default="32-true", help="of training (default: %(default)s)")
    add("--pretrain-config", type=Path, default=ROOT / "configs/pretrain_audioset.yaml", help="(default: configs/pretrain_audioset.yaml)")
    add("--finetune-config", type=Path, default=ROOT / "configs/finetune_audioset.yaml", help="(default: configs/finetune_audioset.yaml)")
    add("--minutes", type=float, default=math.inf, help="begin no run after this time; 0 only writes table and picture again")
    return parser


if __name__ == "__main__":
    main()
