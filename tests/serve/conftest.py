"""Bundles and a service for the tests of ``serve``."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.made_bundle import made_bundle
from tests.serve.serving import Serving, serving


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    """Signals and the log go where they went, also after a test that started the service in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for name in ("serve", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    logging.getLogger("uvicorn.access").disabled = False


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_bundle(tmp_path_factory.mktemp("bundles") / "one", seed=0)


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of another network, whose answers are others."""
    return made_bundle(tmp_path_factory.mktemp("bundles") / "other", seed=1)


@pytest.fixture(scope="session")
def frames_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whose model tells events frame by frame too."""
    return made_bundle(tmp_path_factory.mktemp("bundles") / "frames", frames=True)


@pytest.fixture(scope="module")
def service(bundle: Path) -> Iterator[Serving]:
    """A service with everything as it comes, that a module's tests share."""
    with serving(bundle) as running:
        yield running
