"""Round every request: an id of ours, a line in the log, the metrics, and one form for every error."""

import errno
import time
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.errors import REASONS, Refusal
from serve.logs import log, log_fault
from serve.metrics import Metrics
from serve.predictor import problem
from serve.schemas import ErrorAnswer

HEADER = b"x-request-id"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Observed:
    """ASGI middleware. Addresses that are no route of ours count as "other", so that clients cannot make rows of metrics.

    Args:
        app: behind it.
        metrics: told of every request.
        routes: paths of ours.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (HEADER, request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception as error:
            log_fault("request_failed", error, request_id=request_id)
            if not status:
                await refused(Request(scope), refusal_of_fault(error), self._metrics)(scope, receive, observed)
        finally:
            seconds = time.perf_counter() - began
            route = scope["path"] if scope["path"] in self._routes else "other"
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(seconds)
            log("request", request_id=request_id, route=route, status=status, seconds=round(seconds, 4), **scope["state"].get("noted", {}))


def note(request: Request, **fields: Any) -> None:
    """Add to the request's line in the log: numbers and names of ours only."""
    request.scope["state"].setdefault("noted", {}).update(fields)


def refused(request: Request, refusal: Refusal, metrics: Metrics) -> JSONResponse:
    """The answer to a refused request; it is counted and noted."""
    metrics.errors.labels(refusal.reason).inc()
    note(request, reason=refusal.reason)
    body = ErrorAnswer(error=problem(refusal), request_id=request.state.request_id)
    return JSONResponse(body.model_dump(), refusal.status, refusal.headers)


def refusal_of_fault(error: BaseException) -> Refusal:
    """What nobody expected: of the machine, which may pass, or of ours."""
    if isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MemoryError):
        return Refusal("out_of_memory", "There was no memory for the request.")
    if isinstance(error, OSError) and error.errno in FULL:
        return Refusal("storage_full", "There is no room where the service had to write.")
    return Refusal("internal", "The service failed on the request; its log names the request by this id.")


def refusal_of_status(status: int) -> Refusal:
    """What the web framework refuses by itself, in our form."""
    found = next((name for name, reason in REASONS.items() if reason.status == status), "bad_request")
    return Refusal(found, f"The request was refused: {REASONS[found].meaning}.")
