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
        results: folder with predictions.csv and members.csv of the records in sprsound/, and predictions.csv of the events in
            sprsound/events/, whose members would be as large again.
        out: folder for the files of `benchmarks.lungs.failures.write_failures` and the ablation, both of the records, in sprsound/.
        resamples: bootstrap draws over patients.

    Returns:
        The figures, see `benchmarks.lungs.figures.as_json`; ``markdown`` (the table), ``ablation`` (that of the recipe's parts),
        ``clips``, ``patients``, ``events_clips``, ``events_patients``, ``seeds``, ``files`` (that were written) and ``seconds``.

    Raises:
        UserError: there are no packaged predictions.
    """
    # Late: torch and scikit-learn take seconds to import, which --help should not.
    from benchmarks.lungs.ablation import ablation, ablation_table
    from benchmarks.lungs.datasets import EVENTS, RECORDS
    from benchmarks.lungs.failures import write_failures
    from benchmarks.lungs.figures import as_json, markdown, rows_of
    from benchmarks.lungs.packaged import counts, read, seeds_of
    from common.files import read_csv, write_text

    started = time.monotonic()
    kept, out = results / "sprsound", out / "sprsound"
    for packaged in (kept / PACKAGE, kept / MEMBERS, kept / EVENTS.folder / PACKAGE):
        if not packaged.is_file():
            raise UserError(f"No packaged predictions at {packaged}: 'python -m benchmarks.run sprsound' writes them.")
    records, events = read(kept / PACKAGE), read(kept / EVENTS.folder / PACKAGE)
    rows = [*rows_of(records, RECORDS, resamples), *rows_of(events, EVENTS, resamples)]
    table = markdown(rows)
    say(table)
    members = read_csv(kept / MEMBERS, text=("clip_id",))
    parts = ablation_table(ablation(records, members, RECORDS, min(resamples, PART_RESAMPLES)))
    say(parts)
    write_text(out / "ablation.md", parts)
    return {
        **as_json(rows),
        **counts(records, RECORDS),
        **counts(events, EVENTS),
        "seeds": seeds_of(records),
        "markdown": table,
        "ablation": parts,
        "files": [str(file) for file in (*write_failures(records, out, resamples), out / "ablation.md")],
        "seconds": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    main()
