"""The service's addresses: a table of contents; what each does stands in a file of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from serve.auth import check_token
from serve.current_model import CurrentModel
from serve.engine import Model
from serve.errors import REASONS, Refusal
from serve.frames_question import FramesQuestion
from serve.hangup import swap_on_hangup
from serve.labels_question import LabelsQuestion
from serve.metrics import Metrics
from serve.observed import Observed, note, refusal_of_status, refused
from serve.predictor import Predictor
from serve.question import Question
from serve.schemas import NOTE, RECORDINGS_BODY, A, ErrorAnswer, FramesAnswer, Health, ModelAnswer, PredictAnswer, SwapAnswer
from serve.settings import Settings
from serve.uploads import discard

VERSION = "1"
ROUTES = frozenset({"/v1/predict", "/v1/frames", "/v1/model", "/healthz", "/readyz", "/metrics", "/openapi.json"})
LIMITS = ("max_bytes", "max_files", "max_seconds", "max_channels", "max_rate_hz", "timeout_s")


def create_app(settings: Settings, model: Model, swapped: Callable[[], Awaitable[None]] | None = None) -> FastAPI:
    """The service.

    Args:
        settings: all of them.
        model: loaded from ``settings.model``.
        swapped: called when a client had the bundle read again and this worker took it, so that others follow.
    """
    metrics = Metrics(settings.drift_window)
    token = settings.token.get_secret_value() if settings.token else None
    current = CurrentModel(model, settings.model, settings.threads, settings.sign_key, metrics)
    predictor = Predictor(settings, current, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with predictor.running():
            with swap_on_hangup(current):
                yield

    # Its pages of documentation would fetch scripts from elsewhere; /openapi.json stays.
    app = FastAPI(title="Auscult", version=VERSION, description=NOTE, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.predictor = predictor
    app.add_middleware(Observed, metrics=metrics, routes=ROUTES)
    errors: dict[int | str, dict[str, Any]] = {status: {"model": ErrorAnswer} for status in sorted({r.status for r in REASONS.values()})}

    @app.exception_handler(Refusal)
    async def on_refusal(request: Request, refusal: Refusal) -> JSONResponse:
        return refused(request, refusal, metrics)

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> JSONResponse:
        return refused(request, refusal_of_status(error.status_code), metrics)

    async def answers(request: Request, question: Question[A]) -> dict[str, Any]:
        try:
            check_token(request.headers.get("authorization"), token)
            answered, results = await predictor.answers(request, question)
        except Refusal:
            await discard(request, settings.max_bytes)
            raise
        seconds = sum(result.duration_s or 0.0 for result in results)
        note(request, recordings=len(results), clip_seconds=round(seconds, 3), model=answered.bundle.version)
        return {"model": answered.bundle.version, "request_id": request.state.request_id, "results": results}

    @app.post("/v1/predict", response_model=PredictAnswer, responses=errors, openapi_extra=RECORDINGS_BODY, summary="Answer recordings")
    async def predict(request: Request) -> PredictAnswer:
        return PredictAnswer(**await answers(request, LabelsQuestion()))

    @app.post("/v1/frames", response_model=FramesAnswer, responses=errors, openapi_extra=RECORDINGS_BODY, summary="Tell events in time")
    async def frames(request: Request) -> FramesAnswer:
        return FramesAnswer(**await answers(request, FramesQuestion()))

    @app.get("/v1/model", response_model=ModelAnswer, responses={401: {"model": ErrorAnswer}}, summary="Describe the model")
    async def describe(request: Request) -> ModelAnswer:
        check_token(request.headers.get("authorization"), token)
        now = current.model
        return ModelAnswer(
            version=now.bundle.version,
            backend=now.backend,
            description=now.bundle.description,
            card=now.bundle.card,
            limits={name: getattr(settings, name) for name in LIMITS},
            frames=now.frame_engine is not None,
        )

    @app.post("/v1/model", response_model=SwapAnswer, responses={s: errors[s] for s in (401, 409)}, summary="Read the bundle again")
    async def swap(request: Request) -> SwapAnswer:
        if token is None:
            raise Refusal("unauthorized", "Without a token in its settings the service takes no new bundle this way: send it SIGHUP.")
        check_token(request.headers.get("authorization"), token)
        previous = current.model.bundle.version
        outcome = await current.swap()
        if outcome == "swapped" and swapped is not None:
            await swapped()
        return SwapAnswer(outcome=outcome, version=current.model.bundle.version, previous=previous)

    @app.get("/healthz", response_model=Health, summary="Whether the process lives")
    async def health() -> Health:
        return Health(status="ok")

    @app.get("/readyz", response_model=Health, responses={503: {"model": ErrorAnswer}}, summary="Whether recordings can be answered")
    async def ready() -> Health:
        if not predictor.decoders.pids:
            raise Refusal("not_ready", "No decoding process runs at present.")
        return Health(status="ok")

    @app.get("/metrics", response_class=Response, summary="Prometheus metrics")
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return app
