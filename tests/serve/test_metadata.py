"""Metadata beside the audio, from the client to the model."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve.errors import Refusal
from serve.metadata import metadata_row
from tests.serve.made_bundle import made_bundle
from tests.serve.serving import GOOD, serving
from tests.serve.test_refusals import reason

TAKEN = {"columns": ["age", "sex"], "numbers": ["age"], "vocabularies": {"sex": ["F", "M"]}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"age": 61, "sex": "M"}, [61.0, 1.0]),
        ({"sex": "F"}, [np.nan, 0.0]),
        ({"age": None, "sex": "other"}, [np.nan, np.nan]),
        ({}, [np.nan, np.nan]),
        (None, [np.nan, np.nan]),
    ],
)
def test_a_row_is_in_the_model_s_order(given: dict[str, Any] | None, expected: list[float]) -> None:
    row = metadata_row(given, TAKEN)
    assert row is not None and row.dtype == np.float32 and np.array_equal(row, np.array(expected, np.float32), equal_nan=True)


@pytest.mark.parametrize("given", [{"weight": 3}, {"age": "old"}, {"age": True}, {"age": float("inf")}, {"age": 10**400}])
def test_what_the_model_does_not_take_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        metadata_row(given, TAKEN)
    assert refused.value.reason == "bad_metadata"


def test_a_model_without_metadata_takes_none() -> None:
    assert metadata_row(None, None) is None and metadata_row({}, None) is None
    with pytest.raises(Refusal):
        metadata_row({"age": 3}, None)


def test_both_bodies_bring_them_to_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serve.torch_engine import TorchEngine

    seen: list[list[float]] = []

    def answer(self: TorchEngine, waveform: np.ndarray, rate: int, lengths: np.ndarray, metadata: np.ndarray | None) -> Any:
        assert metadata is not None and len(metadata) == len(waveform)
        seen.extend(metadata.tolist())
        return np.full((len(waveform), 3), 0.5, np.float32), np.zeros(len(waveform), np.int64)

    monkeypatch.setattr(TorchEngine, "answer", answer)
    with serving(made_bundle(tmp_path / "bundle", metadata=TAKEN, golden=None)) as service:
        rows = [{"age": 61, "sex": "M"}, None]
        assert service.predict(GOOD, GOOD, data={"metadata": json.dumps(rows)}).status_code == 200
        assert sorted(map(str, seen)) == ["[61.0, 1.0]", "[nan, nan]"]
        body = {"recordings": [{"audio": base64.b64encode(GOOD).decode(), "metadata": {"age": 5.5}}]}
        assert service.client.post("/v1/predict", json=body).status_code == 200
        assert str(seen[-1]) == "[5.5, nan]"
        for bad in ("no", "[]", "[1, 2]", "[{}]", "[" * 50_000):
            assert reason(service.predict(GOOD, GOOD, data={"metadata": bad})) == "bad_metadata"
