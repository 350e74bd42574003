"""The README's results, and the committed analysis of errors, are what the packaged predictions give."""

import re
from pathlib import Path

from benchmarks import quick_verify

ROOT = Path(__file__).resolve().parents[2]


def test_the_readme_quotes_what_the_packaged_predictions_give(tmp_path: Path) -> None:
    verified = quick_verify.main(["--out", str(tmp_path)])
    assert verified["markdown"] in (ROOT / "README.md").read_text(encoding="utf-8")
    assert verified["clips"] == 1949 and verified["patients"] == 251
    assert verified["events_clips"] == 6656 and verified["events_patients"] == 243
    packages = list((ROOT / "benchmarks" / "results").glob("**/predictions.csv"))
    assert len(packages) == 2 and sum(path.stat().st_size for path in packages) < 2_200_000
    assert len(verified["files"]) == 4
    assert verified["ablation"] in (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for path in map(Path, verified["files"]):
        committed = ROOT / "benchmarks" / "results" / path.relative_to(tmp_path)
        made_again = f"{path.name} is not what the predictions give: run 'python -m benchmarks.quick_verify --out benchmarks/results'"
        assert path.read_bytes() == committed.read_bytes(), made_again


def test_figures_of_failures_in_the_text_are_those_of_the_page() -> None:
    page = (ROOT / "benchmarks" / "results" / "sprsound" / "failures.md").read_text(encoding="utf-8")
    of_readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("It fails most on")[2].partition("\n\n")[0]
    of_section = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").partition("## Where it fails")[2].partition("\n## ")[0]
    quoted = [re.findall(r"\d\.\d{3}", text) for text in (of_readme, of_section)]
    assert len(quoted[0]) == 4 and len(quoted[1]) > 20
    assert not {figure for figures in quoted for figure in figures} - set(re.findall(r"\d\.\d{3}", page))
