"""The HTTP service of ``cmlm-kd serve``: one loaded model behind FastAPI.

Requests that wait at the same time are answered as one batch: a worker takes what is there, up to a number of
texts, and hands it to the model in a thread, so that the loop stays free for health checks and refusals.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException

from cmlm_kd.deployment.batching import Batcher, TooBusy
from cmlm_kd.deployment.loaded import Loaded
from cmlm_kd.errors import UserError
from cmlm_kd.system.ranges import AT_LEAST_ONE, POSITIVE, check_range
from cmlm_kd.system.text import why_not_utf8

logger = logging.getLogger(__name__)


def _utf8(text: str) -> str:
    if reason := why_not_utf8(text):
        raise PydanticCustomError("not_utf8", "{reason}", {"reason": reason})
    return text


Texts = Annotated[list[Annotated[str, AfterValidator(_utf8)]], Field(min_length=1)]


@dataclass(frozen=True)
class Limits:
    """What a service takes.

    Attributes:
        texts: of a request, at least 1.
        characters: of a text, at least 1.
        body: bytes of a request, at least 1.
        waiting: texts that may wait, of all requests together, at least 1.
        batch: texts that the model is given together, at least 1.
        seconds: until a request that waits, or whose body does not come, is given up, above 0.

    Raises:
        UserError: a value is out of its range.
    """

    texts: int = 64
    characters: int = 5000
    body: int = 1 << 20
    waiting: int = 1024
    batch: int = 64
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("texts", "characters", "body", "waiting", "batch"):
            check_range(f"--max-{name}", getattr(self, name), AT_LEAST_ONE)
        check_range("--max-seconds", self.seconds, POSITIVE)


class TranslateRequest(BaseModel):
    """Texts to translate."""

    model_config = ConfigDict(extra="forbid")
    texts: Texts
    split: StrictBool = False


class ClassifyRequest(BaseModel):
    """Texts, or pairs of texts, to classify."""

    model_config = ConfigDict(extra="forbid")
    texts: Texts
    second: Texts | None = None


@dataclass
class Job:
    """What one request wants of the model."""

    texts: list[str]
    second: list[str] | None = None
    split: bool = False
    key: tuple[bool, bool] = field(init=False)

    def __post_init__(self) -> None:
        self.key = (self.second is not None, self.split)


def create_app(model: Loaded, limits: Limits) -> FastAPI:
    """Return the service.

    Args:
        model: what answers.
        limits: what it takes.
    """
    from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

    registry = CollectorRegistry()
    requests = Counter(
        "cmlm_kd_requests", "Requests by path and status.", ("path", "status"), registry=registry
    )
    texts = Counter("cmlm_kd_texts", "Texts that were answered.", registry=registry)
    seconds = Histogram("cmlm_kd_seconds", "Time from a request to its answer.", ("path",), registry=registry)
    sizes = Histogram(
        "cmlm_kd_batch_texts", "Texts in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=registry
    )

    def answer(jobs: Sequence[Job]) -> list[Any]:
        sizes.observe(sum(len(job.texts) for job in jobs))
        return _together(model, jobs)

    batcher: Batcher[Job, Any] = Batcher(
        answer, lambda job: len(job.texts), lambda job: job.key, limits.batch, limits.waiting
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with batcher.running():
            yield

    example = _EXAMPLES[model.task]
    app = FastAPI(title="cmlm-kd", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    @app.middleware("http")
    async def bounded(request: Request, follow: Any) -> Any:
        loop = asyncio.get_running_loop()
        start = loop.time()
        # Methods that are never answered may have a body, too, and it is read to its end.
        has_body = request.method == "POST" or "transfer-encoding" in request.headers
        length = request.headers.get("content-length", "" if has_body else "0")
        if not length.isdecimal():
            response: Any = _refusal(411, "the request does not say its length: send Content-Length")
        elif request.method == "POST" and not _is_json(request.headers.get("content-type", "")):
            response = _refusal(415, "the request is not called JSON: send Content-Type: application/json")
        elif int(length) > limits.body:
            response = _refusal(413, f"the request has {length} bytes, {limits.body} are allowed; send less")
        else:
            response = await answered(request, follow)
        path = request.url.path if request.url.path in _PATHS else "other"
        requests.labels(path, response.status_code).inc()
        seconds.labels(path).observe(loop.time() - start)
        return response

    async def answered(request: Request, follow: Any) -> Any:
        """Answer a request; one whose body does not come, and one that meets a bug, is told so as JSON."""
        try:
            async with asyncio.timeout(limits.seconds):
                await request.body()
            return await follow(request)
        except TimeoutError:
            return _refusal(408, f"the request did not come within {limits.seconds:g} seconds; send it again")
        except Exception:  # a bug: said in full where the service runs, and to the client in a word
            logger.exception("%s", request.url.path)
            return _refusal(500, "the service failed at this request; its own output says why")

    @app.exception_handler(UserError)
    async def explained(_: Request, error: UserError) -> JSONResponse:
        return _refusal(422, str(error))

    @app.exception_handler(TooBusy)
    async def busy(_: Request, error: TooBusy) -> JSONResponse:
        return _refusal(503, str(error), {"Retry-After": "1"})

    @app.exception_handler(TimeoutError)
    async def late(_: Request, error: TimeoutError) -> JSONResponse:
        return _refusal(504, f"no answer within {limits.seconds:g} seconds; send fewer texts, or later")

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 400:  # FastAPI's word for a body that is not parsed, whatever the reason
            return _refusal(422, f"the body is no JSON that can be read; send {example} in UTF-8")
        there = "/translate" if model.task == "translation" else "/classify"
        return _refusal(
            error.status_code,
            f"{error.detail}; there are POST {there}, GET /health and /metrics",
            dict(error.headers or {}),
        )

    from fastapi.exceptions import RequestValidationError

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return _refusal(422, f"the body is no JSON (at character {first['loc'][-1]}); send {example}")
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        remedy = "" if first["type"] == "not_utf8" else f"; send {example}"
        return _refusal(422, f"{place or 'the request'}: {first['msg']}{remedy}")

    async def ask(job: Job) -> Any:
        _check(job, limits)
        found = await asyncio.wait_for(batcher.ask(job), limits.seconds)
        texts.inc(len(job.texts))
        return found

    if model.task == "translation":

        @app.post("/translate")
        async def translate(request: TranslateRequest) -> dict[str, Any]:
            return {"translations": await ask(Job(request.texts, split=request.split))}

    else:

        @app.post("/classify")
        async def classify(request: ClassifyRequest) -> dict[str, Any]:
            return {"classified": await ask(Job(request.texts, request.second))}

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "name": model.name,
            "model": model.description,
            "task": model.task,
            "waiting": batcher.waiting,
        }

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(registry).decode(), media_type="text/plain; version=0.0.4")

    return app


_EXAMPLES = {
    "translation": '{"texts": ["a sentence"], "split": false}',
    "classification": '{"texts": ["a text"]}, of pairs with "second"',
}
"""What is to be sent, for messages."""

_PATHS = ("/translate", "/classify", "/health", "/metrics")


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)


def _check(job: Job, limits: Limits) -> None:
    """Refuse a request that is too large.

    Raises:
        UserError: naming what, and what is allowed.
    """
    if len(job.texts) > limits.texts:
        raise UserError(
            f"texts: {len(job.texts)} of them, {limits.texts} are allowed in a request; send fewer"
        )
    for name, side in (("texts", job.texts), ("second", job.second or [])):
        for number, text in enumerate(side, 1):
            if len(text) > limits.characters:
                raise UserError(
                    f"{name}: number {number} has {len(text):,} characters, {limits.characters:,} are "
                    "allowed; send shorter ones"
                )
            if job.second is not None and len(job.second) != len(job.texts):
                raise UserError(f"second: {len(job.second)} texts for {len(job.texts)}; give pairs")


def _together(model: Loaded, jobs: Sequence[Job]) -> list[Any]:
    """Return what each request is answered, all of them in one batch."""
    texts = [text for job in jobs for text in job.texts]
    if model.task == "translation":
        found = model.translate_with_scores(texts, long_texts="split" if jobs[0].split else "refuse")
        rows: list[Any] = [
            {"text": one.text, "score": round(one.score, 6), "finished": one.finished} for one in found
        ]
    else:
        second = None if jobs[0].second is None else [text for job in jobs for text in job.second or []]
        rows = [
            {"score": one.score}
            if one.label is None
            else {"label": one.label, "probabilities": one.probabilities}
            for one in model.classify(texts, second)
        ]
    answers = iter(rows)
    return [[next(answers) for _ in job.texts] for job in jobs]
