"""The README's results are what the packaged predictions give."""

from pathlib import Path

from benchmarks import quick_verify

ROOT = Path(__file__).resolve().parents[2]


def test_the_readme_quotes_what_the_packaged_predictions_give() -> None:
    verified = quick_verify.main([])
    assert verified["markdown"] in (ROOT / "README.md").read_text(encoding="utf-8")
    assert verified["clips"] == 1949 and verified["patients"] == 251
    packages = list((ROOT / "benchmarks" / "results").glob("*/predictions.csv"))
    assert sum(path.stat().st_size for path in packages) < 1_000_000
