"""metrics.csv keeps what it was given, to the last digit, over a kill and a resumption."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.training.metrics_csv import COLUMNS, MetricsCsv, read_metrics


@pytest.fixture
def csv(tmp_path: Path) -> MetricsCsv:
    logger = MetricsCsv(tmp_path / "run" / "metrics.csv")
    for epoch in range(3):
        logger.log_metrics({"epoch": epoch, "train/loss": 0.1 + epoch / 3}, step=10 * epoch)
        logger.log_metrics({"epoch": epoch, "val/loss": 1e-17 * (epoch + 1), "val/acc": 1.0}, step=10 * epoch + 9)
    return logger


def test_rows_are_what_was_logged(csv: MetricsCsv) -> None:
    table = read_metrics(csv.path)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 9
    assert table[table["metric"] == "train/loss"]["value"].tolist() == pytest.approx([0.1, 0.1 + 1 / 3, 0.1 + 2 / 3], rel=1e-15)
    assert table["step"].tolist() == [0, 9, 9, 10, 19, 19, 20, 29, 29]


def test_forgetting_keeps_every_byte_of_what_came_before(csv: MetricsCsv) -> None:
    whole = csv.path.read_text()
    csv.forget_after(20)
    kept = csv.path.read_text()
    assert whole.startswith(kept) and len(read_metrics(csv.path)) == 6
    csv.log_metrics({"epoch": 2, "train/loss": 0.1 + 2 / 3}, step=20)
    csv.log_metrics({"epoch": 2, "val/loss": 3e-17, "val/acc": 1.0}, step=29)
    assert csv.path.read_text() == whole
    csv.forget_after(0)
    assert csv.path.read_text() == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize("cut", range(1, 17))
def test_a_line_that_a_kill_cut_short_is_left_out(csv: MetricsCsv, cut: int) -> None:
    whole = csv.path.read_text()
    csv.path.write_text(whole[:-cut])
    csv.forget_after(1000)
    assert csv.path.read_text() == "".join(whole.splitlines(keepends=True)[:-1])
    assert len(read_metrics(csv.path)) == 8


def test_nothing_to_forget(tmp_path: Path) -> None:
    MetricsCsv(tmp_path / "metrics.csv").forget_after(3)
    assert not (tmp_path / "metrics.csv").exists()


@given(st.floats(allow_nan=False))
def test_values_are_written_so_that_python_reads_them_back(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    logger = MetricsCsv(tmp_path_factory.mktemp("csv") / "metrics.csv")
    logger.log_metrics({"epoch": 0, "loss": value}, step=1)
    assert float(logger.path.read_text().splitlines()[1].split(",")[3]) == value
