"""``hyperx serve``: a real server on a free port, its answers, its limits and its end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import langcodes
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

import hyperx
import toy
from hyperx.cli import main
from hyperx.config import ServeConfig
from hyperx.data.read.jsonl import JsonlWriter
from hyperx.prediction import predictor
from hyperx.prediction.predictor import Predictor
from hyperx.serving.app import create_app
from hyperx.serving.queue import Job, Queue
from tiny import tiny_model, tiny_tokenizer

TEXTS = [("en", "bad cab"), ("tr", "a bed de"), ("de", "cab"), ("gsw", "de de de bad")]


def random_model() -> hyperx.HyperX:
    model = tiny_model()
    model.tokenizer = tiny_tokenizer()
    return model


@pytest.fixture(scope="module")
def model() -> hyperx.HyperX:
    """Random weights, no parser."""
    return random_model()


@contextmanager
def serving(model: hyperx.HyperX, **options: Any) -> Iterator[Any]:
    """A client of a server in a thread, which is stopped as by a signal at the end."""
    app = create_app(ServeConfig(**options), model)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=30))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def until(holds: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def held(client: Any) -> int:
    return int(client.get("/healthz").json()["held_sentences"])


def count(client: Any, name: str) -> float:
    lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    return float(lines[name])


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The model predicts once it is set."""
    gate, predict = threading.Event(), Predictor.predict

    def wait(*args: Any, **options: Any) -> Any:
        assert gate.wait(120)
        return predict(*args, **options)

    monkeypatch.setattr(Predictor, "predict", wait)
    yield gate
    gate.set()


def same(found: dict[str, Any], model: hyperx.HyperX, language: str, text: str) -> bool:
    """Whether an answer is what the model predicts alone; probabilities may differ in the last digit."""
    (alone,) = model.predict([text], language=language, confidences=True)
    row = {**json.loads(JsonlWriter().render(alone, 1)), "language": language}
    for task, values in row.pop("confidence").items():
        assert found["confidence"][task] == pytest.approx(values, abs=2e-4)
    return {key: value for key, value in found.items() if key != "confidence"} == row


def test_requests_of_several_languages_share_a_pass_and_get_what_predict_gives(
    model: hyperx.HyperX, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, queued = Queue.put, list[Job]()
    monkeypatch.setattr(Queue, "put", lambda queue, job: (put(queue, job), queued.append(job)))
    with serving(model) as client, ThreadPoolExecutor(13) as threads:

        def post(language: str, text: str) -> Any:
            return client.post("/predict", json={"text": text, "language": language, "confidence": True})

        first = threads.submit(post, "en", "bad")
        until(lambda: len(queued) == 1)
        asked = TEXTS * 3
        others = [threads.submit(post, *one) for one in asked]
        until(lambda: len(queued) == 13)
        assert held(client) == 13
        gate.set()
        assert first.result().status_code == 200
        for (language, text), other in zip(asked, others, strict=True):
            assert same(other.result().json(), model, language, text)
        assert count(client, "hyperx_pass_sentences_count") == 2
        assert count(client, "hyperx_sentences_total") == 13
        assert count(client, 'hyperx_requests_total{path="/predict",status="200"}') == 13


def test_a_batch_has_an_answer_to_each_sentence(model: hyperx.HyperX) -> None:
    items = [{"text": text, "language": language, "sent_id": language} for language, text in TEXTS]
    words = {"words": ["bad", "cab"], "space_after": [False, True]}
    with serving(model, language="tr", batch_size=2, tasks=("ner",)) as client:
        answer = client.post("/predict/batch", json={"sentences": [*items, words]}).json()["sentences"]
        assert [one.get("sent_id") for one in answer] == ["en", "tr", "de", "gsw", None]
        assert answer[-1]["language"] == "tr"
        assert answer[-1]["words"] == ["bad", "cab"]
        assert all("ner" in one and "pos" not in one and "confidence" not in one for one in answer)
        (like,) = model.predict(["cab"], language="de", like="tr", task="pos")
        one = client.post("/predict", json={"text": "cab", "language": "de", "like": "tr", "tasks": ["pos"]}).json()
        assert (one["language"], one["pos"]) == ("de", list(like.labels["pos"]))


@pytest.mark.parametrize(
    ("path", "body", "status", "expected"),
    [
        ("", {"text": "a", "language": "englsh"}, 422, "'englsh' is no language code"),
        ("", {"text": "a"}, 422, "expected the code of a language in language, found none; write one, or auto"),
        ("", {"text": " ", "language": "en"}, 422, "expected a text in text, found ' '"),
        ("", {"language": "en"}, 422, "expected a column named text"),
        ("", {"txt": "a"}, 422, "the body: unknown key 'txt'"),
        ("", {"text": "a", "language": "en", "tasks": ["nre"]}, 422, "the model has no task 'nre'; it has ner, pos."),
        ("", {"text": "a", "language": "en", "style": "news"}, 422, "the model has no style 'news'"),
        ("", {"text": "a", "language": "en", "like": "x y"}, 422, "like: 'x y' is no language code"),
        ("", {"text": "a", "language": "en", "like": ""}, 422, "like: '' is no language code"),
        ("/batch", {"sentences": [{"text": "a"}], "language": ""}, 422, "'' is no language code"),
        ("", {"text": 3, "language": "en"}, 422, "text: expected a text; found 3"),
        ("", {"words": ["a"] * 2001, "language": "en"}, 422, "found more than 2,000 words in one"),
        ("", b'{"text": "\\ud800", "language": "en"}', 422, "found a lone surrogate"),
        ("", b'{"text": ', 400, "expected a JSON object, found a fault: Expecting value at character 9"),
        ("", b"\xff", 400, ""),
        ("/batch", {"sentences": [{"text": "a", "language": "en"}, {"text": ""}]}, 422, "sentences.1: expected a text"),
        ("/batch", {"sentences": [{"txt": "a"}]}, 422, "sentences.0: unknown key 'txt'; expected text, text_pair"),
        ("/batch", {"sentences": []}, 422, "sentences: "),
        ("/batch", {"sentences": [{"text": "a"}] * 5}, 413, "expected at most 4 sentences; found 5"),
        ("", {"text": "a" * 30_000}, 413, "expected a body of at most 30,000 bytes; send fewer sentences at a time"),
        ("/none", {}, 404, "Not Found"),
    ],
)
def test_what_cannot_be_answered(client: Any, path: str, body: Any, status: int, expected: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(f"/predict{path}", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert [*answer.json()] == ["error"]
    assert expected in answer.json()["error"]


def test_what_is_not_said_to_be_json_is_told_the_header(client: Any) -> None:
    kind = "application/x-www-form-urlencoded"  # of curl -d
    answer = client.post("/predict", content=b'{"text": "a", "language": "en"}', headers={"Content-Type": kind})
    assert answer.status_code == 422
    assert answer.json()["error"] == f"expected the header Content-Type: application/json; found {kind}"


@pytest.fixture(scope="module")
def client(model: hyperx.HyperX) -> Iterator[Any]:
    """Of a server with small limits."""
    with serving(model, max_sentences=4, max_bytes=30_000) as client:
        yield client


def test_a_full_queue_and_a_late_answer_are_refused_for_now(model: hyperx.HyperX, gate: threading.Event) -> None:
    with serving(model, language="en", max_sentences=2, max_held=2, timeout=4) as client:
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(client.post, "/predict/batch", json={"sentences": [{"text": "a"}, {"text": "b"}]})
            until(lambda: held(client) == 2)
            full = client.post("/predict", json={"text": "a"})
        for answer, told in ((full, "2 sentences are held, of at most 2"), (waiting.result(), "no answer within 4 s")):
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert told in answer.json()["error"]
        assert held(client) == 0
        gate.set()
        assert client.post("/predict", json={"text": "a"}).status_code == 200


def test_clients_that_are_slow_or_cut_off_hold_nobody_up(model: hyperx.HyperX, gate: threading.Event) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    body = b'{"text": "bad", "language": "en"}'.ljust(100)
    with serving(model, timeout=5) as client:
        address = ("127.0.0.1", client.base_url.port)
        idle, slow, gone = (socket.create_connection(address) for _ in range(3))
        idle.sendall(head[:20])
        slow.sendall(head + body[:50])
        gone.sendall(head + body)
        until(lambda: held(client) == 1)
        gone.close()
        until(lambda: held(client) == 0)
        gate.set()
        assert client.post("/predict", json={"text": "bad", "language": "en"}).status_code == 200
        slow.settimeout(60)
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")
        slow.close()
        idle.close()


def test_clients_that_make_up_codes_fill_no_memory(model: hyperx.HyperX, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (hyperx.languages, predictor):
        monkeypatch.setattr(module, "KEPT", 20)
    for kept in ("_PARSE_CACHE", "_INSTANCES"):
        monkeypatch.setattr(langcodes.Language, kept, {})
    with serving(model) as client:
        for number in range(30):
            codes = {200: f"x-own{number}", 422: f"zz-x-{number}"}
            for status, code in codes.items():
                assert client.post("/predict", json={"text": "a bed", "language": code}).status_code == status
        assert same(
            client.post("/predict", json={"text": "a", "language": "tur-x-1", "confidence": True}).json()
            | {"language": "tr"},
            model,
            "tr",
            "a",
        )
    assert len(langcodes.Language._PARSE_CACHE) == len(langcodes.Language._INSTANCES) == 20
    assert len(model.told) <= 20


def test_a_pass_that_fails_fails_its_request_only(model: hyperx.HyperX, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = Predictor.predict

    def failing(self: Any, sentences: Any, **options: Any) -> Any:
        if any(sentence.words == ("bad",) for sentence in sentences):
            raise RuntimeError("out of memory")
        return predict(self, sentences, **options)

    monkeypatch.setattr(Predictor, "predict", failing)
    with serving(model, language="en") as client, ThreadPoolExecutor(6) as threads:
        texts = ["cab", "bad", "cab de", "bad", "de", "a"]
        answers = [*threads.map(lambda text: client.post("/predict", json={"text": text}), texts)]
        assert [answer.status_code for answer in answers] == [200, 500, 200, 500, 200, 200]
        assert answers[1].json() == {"error": "the server failed; its log says why"}


def test_a_long_request_holds_up_others_by_one_pass() -> None:
    started, go, passes = threading.Event(), threading.Event(), list[list[str]]()

    def predict(sentences: Any, *_: Any) -> Any:
        started.set()
        assert go.wait(60)
        passes.append([sentence.text for sentence in sentences])
        return [hyperx.Prediction(sentence, {}, {}) for sentence in sentences]

    queue = Queue(predict, batch_size=2)
    long = [hyperx.Sentence((), text=str(number)) for number in range(5)]
    wide = hyperx.Sentence(("a",) * 1000, text="wide")
    jobs = [Job(long, ["en"] * 5, ("pos",)), Job([wide, wide], ["tr"] * 2, ("pos",)), Job(long[:1], ["en"], ("ner",))]
    queue.put(jobs[0])
    assert started.wait(60)
    queue.put(jobs[1])
    queue.put(jobs[2])
    go.set()
    queue.close()
    assert passes == [["0", "1"], ["wide"], ["0"], ["2", "3"], ["wide"], ["4"]]
    assert [[one.sentence.text for one in job.done.result()] for job in jobs] == [list("01234"), ["wide"] * 2, ["0"]]


def test_the_end_answers_what_is_held(trained: Any, tmp_path: Any) -> None:
    """With SIGTERM, in two worker processes of their own, whose metrics are added."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "hyperx", "serve", str(trained), "--port", str(port), "--workers", "2"]
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "--no_cuda", "--language", "en"], stderr=file, stdout=file)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            until(lambda: log.read_text().count("startup complete") == 2 or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            texts = [" ".join(word for word, *_ in words) for words in toy.sentences("en", 256, 1)]
            with ThreadPoolExecutor(1) as threads:
                body = {"sentences": [{"text": text} for text in texts]}
                waiting = threads.submit(client.post, "/predict/batch", json=body)
                until(lambda: count(client, "hyperx_held_sentences") == 256)
                process.send_signal(signal.SIGTERM)
                answer = waiting.result()
        assert answer.status_code == 200
        found = hyperx.predict(texts, language="en", model=trained)
        assert [one["ner"] for one in answer.json()["sentences"]] == [[*one.labels["ner"]] for one in found]
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


# Its interface is made into tests when they are collected.
DESCRIBED = schemathesis.openapi.from_asgi("/openapi.json", create_app(ServeConfig(language="en"), random_model()))


@DESCRIBED.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
def test_the_interface_is_as_it_is_described(case: schemathesis.Case) -> None:
    """Requests that fit the description get what it says, and all others are refused. That a request of the right form
    has a language and words that can be predicted, a description cannot say."""
    case.call_and_validate(excluded_checks=[positive_data_acceptance])


def test_problems_with_the_options(
    trained: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hyperx.cli.serve.PACKAGES", ("fastapi", "no_such_package"))
    options = ["--max_held", "9", "--language", "englsh", "--tasks", "dep", "--port", "70000", "--add_on", "none"]
    assert main(["serve", str(trained), *options]) == 1
    told = capsys.readouterr().err
    for expected in ("--max_held: expected at least --max_sentences, 256; found 9", "--language: 'englsh' is no"):
        assert expected in told
    assert "--tasks: the model has no task 'dep'" in told
    assert "--add_on: " in told
    assert 'serving needs no_such_package: pip install "hyperx-nlp[serve]"' in told
    assert "--port: expected at most 65535" in told


def test_a_port_in_use_is_told_before_the_model_is_loaded(
    trained: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn, "run", lambda *_, **__: pytest.fail("it is started"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(trained), "--port", str(port)]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert f"--port: cannot listen at 127.0.0.1:{port}: Address already in use" in told
    assert told.endswith("name another, or --port 0 chooses a free one")
