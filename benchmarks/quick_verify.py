"""Every figure of the README's results, and the analysis of errors with its picture, made again from the packaged out-of-fold predictions:
``make quick_verify``."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.run import MEMBERS, PACKAGE
from common import cli
from common.errors import UserError
from common.progress import say

RESULTS = Path(__file__).resolve().parent / "results"
# Of the ablation, whose many rows take most of the time.
PART_RESAMPLES = 200


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick_verify", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder with DATASET/predictions.csv (default: benchmarks/results)")
    parser.add_argument("--out", type=Path, default=Path("runs/quick_verify"), help="folder for tables and picture (default: %(default)s)")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap draws over patients (default: %(default)s)")
    options = parser.parse_args(args)
    return cli.conclude(lambda: quick_verify(options.results, options.out, options.resamples))


def quick_verify(results: Path, out: Path, resamples: int = 1000) -> dict[str, Any]:
    """Judge the packaged predictions of SPRSound, and write where they fail.

    Args:
        results: folder with predictions.csv and members.csv of the records in sprsound/, of the events in sprsound/events/.
        out: folder for the ablations and, of the records, the files of `benchmarks.lungs.failures.write_failures`, in the same folders.
        resamples: bootstrap draws over patients.

    Returns:
        The figures, see `benchmarks.lungs.figures.as_json`; ``markdown`` (the table), ``ablations`` (those of the recipe's parts),
        ``clips``, ``patients``, ``events_clips``, ``events_patients``, ``seeds``, ``files`` (that were written) and ``seconds``.

    Raises:
        UserError: there are no packaged predictions.
    """
    # Late: torch and scikit-learn take seconds to import, which --help should not.
    from benchmarks.lungs.ablation import ablation, ablation_table
    from benchmarks.lungs.datasets import DATASETS
    from benchmarks.lungs.failures import TASK, write_failures
    from benchmarks.lungs.figures import as_json, markdown, rows_of
    from benchmarks.lungs.packaged import counts, read, seeds_of
    from common.files import read_csv, write_text

    started = time.monotonic()
    rows: list[dict[str, Any]] = []
    ablations: list[str] = []
    files: list[Path] = []
    found: dict[str, Any] = {}
    for unit in DATASETS["sprsound"]:
        place, into = results / "sprsound" / unit.folder, out / "sprsound" / unit.folder
        for name in (PACKAGE, MEMBERS):
            if not (place / name).is_file():
                raise UserError(f"No packaged predictions at {place / name}: 'python -m benchmarks.run sprsound' writes them.")
        package, members = read(place / PACKAGE), read_csv(place / MEMBERS, text=("clip_id",))
        rows += rows_of(package, unit, resamples)
        ablations.append(ablation_table(ablation(package, members, unit, min(resamples, PART_RESAMPLES))))
        write_text(into / "ablation.md", ablations[-1])
        files += [*(write_failures(package, into, resamples) if TASK in unit.tasks else ()), into / "ablation.md"]
        found |= {**counts(package, unit), "seeds": seeds_of(package)}
    table = markdown(rows)
    say("\n".join([table, *ablations]))
    return {
        **as_json(rows),
        **found,
        "markdown": table,
        "ablations": ablations,
        "files": [str(file) for file in files],
        "seconds": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    main()
