"""The benchmark on real recordings: the floor and the strongest recipe on the same patients, in folds of several seeds, in one command.

Calls the same commands as a person would. Everything goes into one folder; an interrupted benchmark goes on where it stopped. The
out-of-fold predictions are packed into small tables, and all figures come from those tables.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.commands import call
from common import cli
from common.errors import UserError
from common.progress import say

if TYPE_CHECKING:
    from benchmarks.lungs.datasets import Unit

PACKAGE, MEMBERS = "predictions.csv", "members.csv"
# The task whose network is exported.
BUNDLED = "wheeze_crackle"
# Folds of a smoke test: what few patients allow.
SMOKE_FOLDS = 3


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    options = _parser().parse_args(args)
    return cli.conclude(lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> dict[str, Any]:
    """Do what is not done yet, write the packages and the table, and return the figures that are printed last."""
    # Late: torch takes seconds to import, which --help should not.
    from benchmarks.lungs.datasets import chosen
    from benchmarks.lungs.figures import as_json, markdown, rows_of
    from benchmarks.lungs.packaged import counts
    from benchmarks.lungs.runs import Inputs, run_all
    from common.files import write_csv, write_json, write_text
    from common.provenance import git_commit, machine

    if not options.weights.is_file():
        raise UserError(f"No weights at {options.weights}: expected EfficientAT's mn04_as_mAP_432.pt, see docs/pretraining.md.")
    if options.bundle and options.tasks and BUNDLED not in options.tasks:
        raise UserError(f"--bundle is of the network that tells wheezes and crackles: name {BUNDLED} among --tasks.")
    out, started = options.out, time.monotonic()
    rows: list[dict[str, Any]] = []
    minutes: dict[str, float] = {}
    counted: dict[str, int] = {}
    for unit in chosen(options.dataset, options.tasks):
        manifest, events = _manifest(options, unit), _manifest(options, unit.events) if unit.events else None
        folds = {seed: _folds(options, unit, manifest, seed) for seed in options.seeds}
        package, members, of_runs = run_all(unit, Inputs(options.weights, manifest, folds, events, options.default), out)
        write_csv(out / unit.folder / PACKAGE, package)
        write_csv(out / unit.folder / MEMBERS, members)
        rows += rows_of(package, unit, options.resamples)
        minutes |= of_runs
        counted |= counts(package, unit)
    bundle = {"bundle": _bundle(options)} if options.bundle else {}
    page = markdown(rows)
    write_text(out / "table.md", page)
    kind = {"machine": machine(), "commit": git_commit(), "minutes": round((time.monotonic() - started) / 60, 2)}
    write_json(out / "figures.json", {"rows": rows, "minutes_of_runs": minutes, **kind})
    say(f"\n{page}")
    return {
        "dataset": options.dataset,
        "smoke": options.smoke,
        **counted,
        "seeds": options.seeds,
        **as_json(rows),
        **kind,
        "out": str(out),
        "table": str(out / "table.md"),
        **bundle,
    }


def _manifest(options: argparse.Namespace, unit: "Unit") -> Path:
    """The audited manifest of a unit, made once."""
    folder = options.out / unit.folder
    found, clean = folder / "manifest.csv", folder / "audit" / "manifest.csv"
    if not clean.is_file():
        call("common", "manifest", *unit.manifest, "--root", options.root, "--out", found)
        call("common", "audit", "--manifest", found, "--out", folder / "audit")
    return clean


def _folds(options: argparse.Namespace, unit: "Unit", manifest: Path, seed: int) -> Path:
    from benchmarks.lungs.datasets import is_whole

    path = options.out / unit.folder / f"folds-{seed}.csv"
    if not path.is_file():
        more: tuple[object, ...] = unit.folds if is_whole(options.dataset, manifest) else ()
        number = SMOKE_FOLDS if options.smoke else options.num_folds
        call("finetune", "folds", "--manifest", manifest, "--out", path, "--seed", seed, "--num-folds", number, *more)
    return path


def _bundle(options: argparse.Namespace) -> str:
    """The bundle of the best single network, that over frames, on the folds of the first seed; made once."""
    from benchmarks.lungs.recipes import TAUGHT

    run, out = options.out / "runs" / f"{TAUGHT}-{BUNDLED}-{options.seeds[0]}", options.out / f"bundle-{options.seeds[0]}"
    if not out.is_dir():
        call("finetune", "export", "--run", run, "--out", out)
    return str(out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    add = parser.add_argument
    add("dataset", choices=("sprsound", "icbhi", "takehome"), help="what the recordings are")
    add("--root", type=Path, required=True, help="folder of the dataset, as 'python -m common manifest' takes it")
    add("--weights", type=Path, required=True, help="AudioSet weights of EfficientAT: mn04_as_mAP_432.pt")
    add("--out", type=Path, default=Path("runs/benchmark"), help="folder for all that is made (default: %(default)s)")
    add("--tasks", nargs="+", metavar="TASK", help="some alone, for example task_1_1 task_1_2; the packages then hold these (default: all)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the folds and of everything drawn (default: 0 1 2)")
    add("--num-folds", type=int, default=5, help="folds of patients (default: %(default)s)")
    add("--resamples", type=int, default=1000, help="bootstrap draws over patients (default: %(default)s)")
    add(
        "--default",
        choices=("small", "full"),
        help="also the default recipe: SimCLR on the training patients, then fine-tuning, by the configs for a processor or for a GPU",
    )
    add("--bundle", action="store_true", help="also export the network over frames of the first seed's folds, the best one by itself")
    add("--smoke", action="store_true", help=f"{SMOKE_FOLDS} folds: whether it runs at all, on few recordings")
    return parser


if __name__ == "__main__":
    main()
