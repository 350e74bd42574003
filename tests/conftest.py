"""Fixtures that several test folders share."""

import gc
import os
from pathlib import Path

import pytest

os.environ.setdefault("WANDB_MODE", "offline")
# Else it calls a host of its makers after it was imported, which Lightning does where it is there.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def pytest_collection_finish() -> None:
    """What was imported stays: every later search for unreachable objects, of which a run makes many, would else walk through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings beside the checkout; a test that asks for it is skipped where there is none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real recordings in ../shared/data, which are not part of the project")
    return folder
