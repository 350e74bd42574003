"""The model that answers now, and how another takes its place while requests go on."""

import asyncio
import logging
from pathlib import Path
from typing import Literal

from serve.engine import Model, load_model
from serve.errors import Refusal, StartError
from serve.logs import log
from serve.metrics import Metrics

Outcome = Literal["swapped", "unchanged"]


class CurrentModel:
    """The model of a bundle's folder.

    Args:
        model: loaded from ``folder``.
        folder: read again by `swap`; it may be a link that an operator points elsewhere.
        threads: of a new model.
        sign_key: see `serve.bundle.read_bundle`.
        metrics: told of versions.
    """

    def __init__(self, model: Model, folder: Path, threads: int, sign_key: Path | None, metrics: Metrics) -> None:
        self.model = model
        self._folder = folder
        self._threads = threads
        self._sign_key = sign_key
        self._metrics = metrics
        self._swapping = asyncio.Lock()
        metrics.model_loaded(model.bundle, model.backend)

    async def swap(self) -> Outcome:
        """Read the folder again; a new bundle takes over once it has verified. Requests in flight keep the model that they began with.

        Raises:
            Refusal: it does not verify, or its metrics find no room; the old one goes on.
        """
        async with self._swapping:
            try:
                new = await asyncio.to_thread(load_model, self._folder, self.model.backend, self._threads, self._sign_key)
                self._metrics.make_room()
            except StartError as error:
                raise self._refused("bundle_refused", str(error)) from error
            except OSError as error:
                raise self._refused("storage_full", f"There is no room for the metrics of another bundle ({error.strerror}).") from error
            old = self.model
            outcome: Outcome = "unchanged" if new.bundle.version == old.bundle.version else "swapped"
            if outcome == "swapped":
                self.model = new
                self._metrics.model_loaded(new.bundle, new.backend)
                self._metrics.model_left(old.bundle, old.backend)
            self._metrics.model_swaps.labels(outcome).inc()
            log("bundle_read", outcome=outcome, version=new.bundle.version, previous=old.bundle.version)
            return outcome

    def _refused(self, reason: str, why: str) -> Refusal:
        self._metrics.model_swaps.labels("refused").inc()
        log("bundle_refused", logging.ERROR, reason=reason, why=why)
        return Refusal(reason, why)
