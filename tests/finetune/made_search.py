"""A search of made clips that takes seconds: what it searches, and its command line."""

from pathlib import Path

SPACE = """
model.lr: {low: 1.0e-3, high: 1.0e-1, log: true}
model.dropout: {low: 0.0, high: 0.4, step: 0.2}
model.encoder.init_args.channels: {choices: [[4, 8], [8]]}
"""


def search_arguments(made: Path, out: Path, space: str, *more: str) -> list[str]:
    """Those of a search in ``out`` with two epochs and two inner folds; the space is written beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    (out.parent / "space.yaml").write_text(space)
    data = ["--data.manifest", str(made / "manifest.csv"), "--data.folds", str(made / "folds.csv")]
    short = ["--trainer.max_epochs", "2", "--inner-folds", "2", "--space", str(out.parent / "space.yaml"), "--out", str(out)]
    return ["search", "-c", str(made / "tiny.yaml"), *data, *short, *more]
