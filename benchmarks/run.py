"""The benchmark on real recordings: the floor and the strongest recipe on the same patients, in folds of several seeds, in one command.

Calls the same commands as a person would. Everything goes into one folder; an interrupted benchmark goes on where it stopped. The
out-of-fold predictions are packed into one small table, and all figures come from that table.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.commands import call
from common import cli
from common.errors import UserError
from common.progress import say

PACKAGE, MEMBERS = "predictions.csv", "members.csv"
# Folds of a smoke test: what few patients allow.
SMOKE_FOLDS = 3


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    options = _parser().parse_args(args)
    return cli.conclude(lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> dict[str, Any]:
    """Do what is not done yet, write the package and the table, and return the figures that are printed last."""
    # Late: torch takes seconds to import, which --help should not.
    from benchmarks.lungs.datasets import DATASETS
    from benchmarks.lungs.figures import as_json, markdown, rows_of
    from benchmarks.lungs.packaged import patients_in
    from benchmarks.lungs.runs import Inputs, run_all
    from common.files import write_csv, write_json, write_text
    from common.provenance import git_commit, machine

    if not options.weights.is_file():
        raise UserError(f"No weights at {options.weights}: expected EfficientAT's mn04_as_mAP_432.pt, see docs/pretraining.md.")
    dataset, out, started = DATASETS[options.dataset], options.out, time.monotonic()
    clean = _manifest(options)
    folds = {seed: _folds(options, clean, seed) for seed in options.seeds}
    package, members, minutes = run_all(dataset, Inputs(options.weights, clean, folds, _events(options)), out)
    write_csv(out / PACKAGE, package)
    write_csv(out / MEMBERS, members)
    rows = rows_of(package, dataset, options.resamples)
    page = markdown(rows, dataset)
    write_text(out / "table.md", page)
    kind = {"machine": machine(), "commit": git_commit(), "minutes": round((time.monotonic() - started) / 60, 2)}
    write_json(out / "figures.json", {"rows": rows, "minutes_of_runs": minutes, **kind})
    say(f"\n{page}")
    return {
        "dataset": options.dataset,
        "smoke": options.smoke,
        "clips": len(package),
        "patients": patients_in(package),
        "seeds": list(folds),
        **as_json(rows),
        **kind,
        "predictions": str(out / PACKAGE),
        "table": str(out / "table.md"),
    }


def _manifest(options: argparse.Namespace) -> Path:
    """The audited manifest, made once."""
    from benchmarks.lungs.datasets import DATASETS

    found, clean = options.out / "manifest.csv", options.out / "audit" / "manifest.csv"
    if not clean.is_file():
        call("common", "manifest", *DATASETS[options.dataset].manifest, "--root", options.root, "--out", found)
        call("common", "audit", "--manifest", found, "--out", options.out / "audit")
    return clean


def _events(options: argparse.Namespace) -> Path | None:
    """The manifest of annotated events, made once; None where the dataset has none."""
    from benchmarks.lungs.datasets import DATASETS

    path, words = options.out / "events.csv", DATASETS[options.dataset].events
    if words and not path.is_file():
        call("common", "manifest", *words, "--root", options.root, "--out", path)
    return path if words else None


def _folds(options: argparse.Namespace, manifest: Path, seed: int) -> Path:
    from benchmarks.lungs.datasets import DATASETS, is_whole

    path = options.out / f"folds-{seed}.csv"
    if not path.is_file():
        more: tuple[object, ...] = DATASETS[options.dataset].folds if is_whole(options.dataset, manifest) else ()
        number = SMOKE_FOLDS if options.smoke else options.num_folds
        call("finetune", "folds", "--manifest", manifest, "--out", path, "--seed", seed, "--num-folds", number, *more)
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    add = parser.add_argument
    add("dataset", choices=("sprsound", "icbhi", "takehome"), help="what the recordings are")
    add("--root", type=Path, required=True, help="folder of the dataset, as 'python -m common manifest' takes it")
    add("--weights", type=Path, required=True, help="AudioSet weights of EfficientAT: mn04_as_mAP_432.pt")
    add("--out", type=Path, default=Path("runs/benchmark"), help="folder for all that is made (default: %(default)s)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the folds and of everything drawn (default: 0 1 2)")
    add("--num-folds", type=int, default=5, help="folds of patients (default: %(default)s)")
    add("--resamples", type=int, default=1000, help="bootstrap draws over patients (default: %(default)s)")
    add("--smoke", action="store_true", help=f"{SMOKE_FOLDS} folds: whether it runs at all, on few recordings")
    return parser


if __name__ == "__main__":
    main()
