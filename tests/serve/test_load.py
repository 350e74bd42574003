"""Seconds of twice the capacity with a bad day in them; `python -m benchmarks.load` is the long form."""

from pathlib import Path

import pytest

from benchmarks.load import main


def test_an_overloaded_service_on_a_bad_day_refuses_and_is_never_wrong(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = main(["--bundle", str(bundle), "--seconds", "6", "--capacity-seconds", "1"])
    assert found["faults"] == found["wrong_answers"] == 0 and found["still_answers"], found
    assert found["share_503"] > 0 and found["outcomes"]["200"] > 0
    assert found["killed_decoders"] == 2 and len(found["answers_by_version"]) == 2
    assert found["files_left"] == [] and found["descriptors"]["after"] <= found["descriptors"]["before"] + 2
