"""The HTTP side of ``hyperx serve``: what is asked and answered, and the limits. The form of a sentence and of its
answer is that of JSON lines, whose reader and writer are used."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

import torch
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

import hyperx
from hyperx import checkpoint
from hyperx.config import ServeConfig
from hyperx.data.read import base
from hyperx.data.read.jsonl import JsonlWriter, object_sentence
from hyperx.data.read.lines import check_length
from hyperx.data.read.rows import RowReader
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.errors import DataError, HyperXError, faults_of
from hyperx.languages import canonical
from hyperx.model import HyperX, load
from hyperx.options import made
from hyperx.prediction.predictor import Predictor
from hyperx.prediction.request import language_problem, predicted_tasks, style_problems
from hyperx.serving.form import Answer, Answers, Fault, Item, Many, One, Options
from hyperx.serving.limits import SECONDS, Limits, Refused, refusal
from hyperx.serving.queue import Job, Queue

OPTIONS = "HYPERX_SERVE"
"""The variable of the environment that has the options as JSON, for the processes that uvicorn starts."""
KEPT = 12
"""Of how many pairs adapters are kept; those of the ready-made model have 2 MB, of a base-sized one some 20."""
FAILED = "the server failed; its log says why"
REFUSALS = {
    400: "no JSON", 408: "the body was too slow", 413: "too large", 422: "what cannot be predicted",
    503: "too much is held, or there was no answer in time: try again after Retry-After seconds",
}  # fmt: skip


class Server:
    """A loaded model, its queue, and what is counted of it.

    Args:
        config: the options.
        model: by default the one that these name.
    """

    def __init__(self, config: ServeConfig, model: HyperX | None = None) -> None:
        kept = KEPT if model is None else 0  # of another's model nobody knows whether it is trained
        if model is None:
            model = load(config.folder, config, config.add_on)
        if config.workers > 1:
            torch.set_num_threads(max(1, torch.get_num_threads() // config.workers))
        self.config, self.model, self.writer = config, model, JsonlWriter()
        self.predictor = Predictor(model, kept=kept)
        self.asked = lru_cache(maxsize=256)(self._asked)  # what it logs is logged once
        self.asked(config.tasks, None)
        self.held = 0
        self.registry = CollectorRegistry()
        self.sentences = Counter("hyperx_sentences", "Sentences predicted", registry=self.registry)
        self.passes = Histogram(
            "hyperx_pass_sentences",
            "Sentences of a pass",
            registry=self.registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
        )
        self.seconds = Histogram("hyperx_pass_seconds", "Time of a pass", registry=self.registry, buckets=SECONDS)
        self.waiting = Gauge(
            "hyperx_held_sentences",
            "Sentences that wait or are being predicted",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def _asked(self, tasks: tuple[str, ...], style: str | None) -> tuple[tuple[str, ...], set[str]]:
        """The tasks to predict, and what they read; raises a HyperXError for what the model does not have."""
        names = predicted_tasks(self.model.config, tuple(dict.fromkeys(tasks)) or self.config.tasks)
        for problem in style_problems(self.model.config, style, names):
            raise HyperXError(problem)
        return names, {self.model.tasks[name].reads for name in names}

    def predict(
        self, sentences: Sequence[Sentence], languages: Sequence[str], tasks: tuple[str, ...], style: str | None
    ) -> list[Prediction]:
        """A pass of the model, for the queue."""
        self.passes.observe(len(sentences))
        self.sentences.inc(len(sentences))
        # What is the same for all is made once; names of a language that differ are not told apart.
        codes = [*map(canonical, languages)]
        with self.seconds.time():
            return list(
                self.predictor.predict(
                    sentences,
                    tasks=tasks,
                    language=codes if len({*codes}) > 1 else codes[0],
                    style=style,
                    confidences=True,
                    batch_size=self.config.batch_size,
                )
            )

    def read(self, items: Sequence[Item], options: Options, language: str | None) -> Job:
        """The job of a request; raises a HyperXError that names the sentence at fault."""
        tasks, reads = self.asked(tuple(options.tasks), options.style)
        default = self.config.language if language is None else language
        rows = RowReader(base.Request(reads=reads, language=default or ""), in_file=True)
        sentences, languages = list[Sentence](), list[str]()
        if options.like is not None and (problem := language_problem(self.model.config, options.like)):
            raise HyperXError(f"like: {problem}")
        for number, item in enumerate(items):
            own = {name: getattr(item, name) for name in Item.model_fields}
            try:
                sentence = object_sentence({name: value for name, value in own.items() if value is not None}, rows)
                check_length(len(sentence.words))
                if (code := sentence.language or default) is None:
                    raise DataError("expected the code of a language in language, found none; write one, or auto")
                if problem := language_problem(self.model.config, code):
                    raise DataError(problem)
            except DataError as error:
                place = "" if isinstance(item, One) else f"sentences.{number}: "
                raise HyperXError(f"{place}{error.message}") from error
            sentences.append(replace(sentence, language=code))
            languages.append(code if options.like is None else options.like)
        return Job(sentences, languages, tasks, options.style)

    async def answer(self, items: Sequence[Item], options: Options, language: str | None, http: Request) -> list[str]:
        """The line of JSON of each sentence; raises a HyperXError if they cannot be predicted, or not now."""
        config, count = self.config, len(items)
        if count > (most := config.max_sentences):
            raise Refused(413, f"expected at most {most} sentences; found {count}: send fewer at a time")
        if self.held + count > config.max_held:
            raise Refused(503, f"{self.held} sentences are held, of at most {config.max_held}: try again later")
        # Only the thread of the event loop counts.
        self.held += count
        self.waiting.inc(count)
        try:
            deadline = time.monotonic() + config.timeout
            job = await run_in_threadpool(self.read, items, options, language)
            self.queue.put(job)
            found, gone = asyncio.wrap_future(job.done), asyncio.ensure_future(http.receive())
            try:
                left = max(deadline - time.monotonic(), 0)
                await asyncio.wait((found, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if gone.done() and not found.done():
                    raise Refused(499, "the client is gone")
                if not found.done():
                    held = f"it waited with {self.held - count} other sentences"
                    raise Refused(503, f"no answer within {config.timeout:g} s; {held}: try again later, or send fewer")
            finally:
                found.cancel()
                gone.cancel()
            if (error := found.exception()) is not None:
                raise error if isinstance(error, HyperXError) else Refused(500, FAILED) from error
            kept = found.result()
            if not options.confidence:
                kept = [replace(prediction, confidences=None) for prediction in kept]
            return await run_in_threadpool(lambda: [self.writer.render(prediction, 0) for prediction in kept])
        finally:
            self.held -= count
            self.waiting.dec(count)

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """The time in which requests are answered; at its end all that was put into the queue is."""
        self.queue = Queue(self.predict, self.config.batch_size)
        yield
        await run_in_threadpool(self.queue.close)

    def page(self) -> bytes:
        """The page of metrics, of all worker processes."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def create_app(config: ServeConfig, model: HyperX | None = None) -> FastAPI:
    """The application, with a model that is loaded now unless it is given."""
    server = Server(config, model)
    folder = "a model in memory" if model is not None else checkpoint.resolve(config.folder).name
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Fault, "description": text} for status, text in REFUSALS.items()
    }
    # The pages of documentation would be scripts of another host.
    app = FastAPI(title="Hyper-X", version=hyperx.__version__, docs_url=None, redoc_url=None, lifespan=server.running)
    app.add_middleware(Limits, config=config, registry=server.registry)

    @app.exception_handler(HyperXError)
    async def refuse(_: Request, error: HyperXError) -> JSONResponse:
        return refusal(error)

    @app.exception_handler(HTTPException)
    async def not_found(request: Request, error: HTTPException) -> JSONResponse:
        asked = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse({"error": asked}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"error": FAILED}, 500)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if isinstance(first["input"], bytes):
            found = request.headers.get("Content-Type", "no type")[:60]
            return refusal(Refused(422, f"expected the header Content-Type: application/json; found {found}"))
        if first["type"] == "json_invalid":
            found = f"{first['ctx']['error']} at character {first['loc'][-1]}"
            return refusal(Refused(400, f"expected a JSON object, found a fault: {found}"))
        body = Many if request.url.path.endswith("batch") else One
        known = {
            fault["loc"][:-1]: [*(Item if len(fault["loc"]) > 3 else body).model_fields] for fault in error.errors()
        }
        faults = faults_of(error.errors(), lambda path: ".".join(map(str, path[1:])) or "the body", known)
        return JSONResponse({"error": "\n".join(faults)}, 422)

    @app.post("/predict", response_model=Answer, responses=refusals)
    async def predict(sentence: One, request: Request) -> Response:
        """Predict the labels of a sentence."""
        (line,) = await server.answer([sentence], sentence, None, request)
        return Response(line, media_type="application/json")

    @app.post("/predict/batch", response_model=Answers, responses=refusals)
    async def predict_batch(batch: Many, request: Request) -> Response:
        """Predict the labels of sentences, of one language or several."""
        lines = await server.answer(batch.sentences, batch, batch.language, request)
        return Response('{"sentences": [' + ", ".join(map(str.rstrip, lines)) + "]}\n", media_type="application/json")

    @app.get("/healthz")
    async def health() -> dict[str, Any]:
        """That requests are answered, and by what."""
        return {
            "status": "ok",
            "version": hyperx.__version__,
            "checkpoint": folder,
            "tasks": server.asked(config.tasks, None)[0],
            "held_sentences": server.held,
        }

    @app.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Counts and times, for Prometheus."""
        return Response(server.page(), media_type=CONTENT_TYPE_LATEST)

    return app


def app_of_environment() -> FastAPI:
    """The application with the options of :data:`OPTIONS`."""
    return create_app(made(ServeConfig, json.loads(os.environ[OPTIONS])))


def written(config: ServeConfig) -> str:
    """The options as they stand in :data:`OPTIONS`."""
    return json.dumps({name: value for name, value in asdict(config).items() if name != "config"}, default=str)
