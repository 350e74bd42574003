"""The README's results, and the committed analysis of errors, are what the packaged predictions give."""

from pathlib import Path

from benchmarks import quick_verify

ROOT = Path(__file__).resolve().parents[2]


def test_the_readme_quotes_what_the_packaged_predictions_give(tmp_path: Path) -> None:
    verified = quick_verify.main(["--out", str(tmp_path)])
    assert verified["markdown"] in (ROOT / "README.md").read_text(encoding="utf-8")
    assert verified["clips"] == 1949 and verified["patients"] == 251
    packages = list((ROOT / "benchmarks" / "results").glob("*/predictions.csv"))
    assert sum(path.stat().st_size for path in packages) < 1_000_000
    assert len(verified["files"]) == 3
    for path in map(Path, verified["files"]):
        committed = ROOT / "benchmarks" / "results" / path.relative_to(tmp_path)
        made_again = f"{path.name} is not what the predictions give: run 'python -m benchmarks.quick_verify --out benchmarks/results'"
        assert path.read_bytes() == committed.read_bytes(), made_again
