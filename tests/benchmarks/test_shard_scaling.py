"""The benchmark of shards runs through to its last line, at a size that takes seconds; its figures depend on the machine."""

import json

import pytest

from benchmarks import shard_scaling


def test_the_cost_of_a_clip_from_shards(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shard_scaling, "in_process", lambda function, work: function(work))
    monkeypatch.setattr(shard_scaling, "BATCH_SIZE", 8)
    monkeypatch.setattr(shard_scaling, "TIMED_CLIPS", 50)
    monkeypatch.setattr(shard_scaling, "SHARD_MB", 0.3)
    shard_scaling.main(["--sizes", "20", "60"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["clips"] for row in figures["sizes"]] == [20, 60] and figures["largest_over_smallest"] > 0
    assert all(set(row) == set(shard_scaling.COLUMNS) and row["clip_us"] > 0 and row["store_clip_us"] > 0 for row in figures["sizes"])
