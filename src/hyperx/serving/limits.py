"""Which requests are refused, and how: a body is read here, before anything else sees the request."""

from __future__ import annotations

import time

from anyio import fail_after
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hyperx.config import ServeConfig
from hyperx.errors import HyperXError

SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
"""Bounds of what is counted of times."""


class Refused(HyperXError):
    """A request that is not answered, with its status."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def refusal(error: Exception) -> JSONResponse:
    """The response to an error."""
    status = getattr(error, "status", 422)
    headers = {503: {"Retry-After": "1"}, 408: {"Connection": "close"}}.get(status)
    return JSONResponse({"error": str(error)}, status, headers)


class Limits:
    """Reads a body whole, within its size and time, before the application sees the request; counts requests."""

    def __init__(self, app: ASGIApp, config: ServeConfig, registry: CollectorRegistry) -> None:
        self.app, self.config = app, config
        self.count = Counter("hyperx_requests", "Requests answered", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "hyperx_request_seconds", "Time from the first byte", ["path"], registry=registry, buckets=SECONDS
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, body, most = time.perf_counter(), bytearray(), self.config.max_bytes

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = getattr(scope.get("route"), "path", "other")
                self.count.labels(path, message["status"]).inc()
                self.seconds.labels(path).observe(time.perf_counter() - start)
            await send(message)

        try:
            with fail_after(self.config.timeout):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > most:
                        raise Refused(413, f"expected a body of at most {most:,} bytes; send fewer sentences at a time")
        except TimeoutError:
            late = Refused(408, f"expected the whole body within {self.config.timeout:g} s, found {len(body):,} bytes")
            return await refusal(late)(scope, receive, counted)
        except Refused as error:
            return await refusal(error)(scope, receive, counted)
        first: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return first.pop() if first else await receive()

        return await self.app(scope, replay, counted)
