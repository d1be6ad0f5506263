"""A Prefect server that is not there, is none, or is lost in the middle: one line, and soon."""

import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import command_line
from flows.steps import prefect_server
from rnn_core import commands
from tests.faults.proxy import Proxy
from tests.processes import free_port, start, wait_for

COMMANDS = {
    "retrain": (commands.Retrain, ""),
    "universe.__main__": (commands.RetrainUniverse, "--tickers MSFT,AAPL"),
    "forecast": (commands.Forecast, ""),
    "score": (commands.Score, ""),
    "study": (commands.Study, ""),
    "prune": (commands.Prune, ""),
    "compare": (commands.Compare, "--runs A B"),
    "reproduce": (commands.Reproduce, "--run A"),
    "audit": (commands.Audit, ""),
    "rollback": (commands.Rollback, "--ticker MSFT"),
}
SMALL = (
    "--source.kind synthetic --source.days 700 --model.hidden_size 2 --training.epochs 20 "
    "--training.seeds 1 --evaluation.train_days 300 --evaluation.test_days 300 "
    "--now 2021-06-02T21:00:00Z"
)
LOST = {"retrain": "--ticker LOST", "universe": "--tickers LOST1,LOST2"}
SECONDS = 30.0


@contextmanager
def answering(
    status: int, content: bytes, asked: list[str] | None = None, *, healthy: bool = False
) -> Iterator[int]:
    """A port that answers, and adds the paths that it is asked for to `asked`.

    With `healthy` it answers `true` if it is asked for its health.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(self.path)
            is_well = healthy and self.path.endswith("/health")
            self.send_response(200 if is_well else status)
            self.end_headers()
            self.wfile.write(b"true" if is_well else content)

        do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815  so they are called

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextmanager
def silent() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def closed() -> Iterator[int]:
    yield free_port()


ABSENT: dict[str, tuple[Callable[[], AbstractContextManager[int]], str]] = {
    "closed": (closed, "Connection refused"),
    "silent": (silent, "timed out"),
    "an error": (lambda: answering(500, b"oops"), "HTTP 500"),
    "no such page": (lambda: answering(404, b"{}"), "HTTP 404"),
    "a web page": (lambda: answering(200, b"<html></html>"), "something else answers"),
}


def outcome(
    name: str, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Return the output of a command that cannot reach its server."""
    config_class, options = COMMANDS[name]
    module = import_module(f"flows.{name}")
    monkeypatch.setattr(sys, "argv", [name, *options.split()])
    with (
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}),
        pytest.raises(SystemExit) as ended,
    ):
        command_line.run(config_class, module.main)
    assert ended.value.code == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_without_its_server_every_command_ends_in_one_line(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    port = free_port()
    assert outcome(name, port, monkeypatch, capsys) == (
        f"error: no Prefect server at http://127.0.0.1:{port}/api (Connection refused); "
        "make up, or unset PREFECT_API_URL\n"
    )
    assert not list(tmp_path.iterdir()), "nothing has begun"


@pytest.mark.parametrize(("kind", "reason"), ABSENT.values(), ids=ABSENT)
def test_what_is_no_prefect_server_is_told_in_one_line(
    kind: Callable[[], AbstractContextManager[int]],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(prefect_server, "SECONDS", 1)
    with kind() as port:
        said = outcome("retrain", port, monkeypatch, capsys)
    assert said.count("\n") == 1
    assert f":{port}/api ({reason}); make up, or unset PREFECT_API_URL" in said


def test_it_waits_shorter_than_half_a_minute_and_asks_a_server_that_answers_once() -> None:
    assert prefect_server.SECONDS < SECONDS / 2
    asked: list[str] = []
    with (
        answering(200, b"true", asked) as port,
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}),
    ):
        assert prefect_server.why_absent() == ""
    assert asked == ["/api/health"]
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert prefect_server.why_absent() == "", "Prefect starts one of its own"


@pytest.mark.parametrize("name", LOST)
def test_a_server_that_is_lost_in_the_middle_costs_no_work(
    environment: dict[str, str], tmp_path: Path, name: str, record_property: Any
) -> None:
    port = int(environment["PREFECT_API_URL"].split(":")[2].removesuffix("/api"))
    proxy = Proxy(port)
    log = tmp_path / "log"
    command = (sys.executable, "-m", f"flows.{name}", *LOST[name].split(), *SMALL.split())
    through = environment | {"PREFECT_API_URL": f"http://127.0.0.1:{proxy.port}/api"}
    process = start(*command, environment=through, cwd=tmp_path, log=log)
    wait_for(lambda: "Beginning flow run" in log.read_text(), "the flow to begin")
    proxy.cut()
    cut = time.monotonic()
    assert process.wait(600) == 1
    record_property("seconds", time.monotonic() - cut)
    said = log.read_text()
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith(
        f"error: no Prefect server at {through['PREFECT_API_URL']} (Connection refused); "
        "make up, or unset PREFECT_API_URL; "
    )
    with sqlite3.connect(environment["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")) as store:
        runs = store.execute("SELECT status FROM runs WHERE name LIKE ?", [f"retrain%{'LOST'}%"])
        assert {status for (status,) in runs} == {"FINISHED"}


def test_a_server_that_is_too_busy_in_the_middle_costs_no_work(
    environment: dict[str, str], tmp_path: Path
) -> None:
    port = int(environment["PREFECT_API_URL"].split(":")[2].removesuffix("/api"))
    proxy = Proxy(port)
    log = tmp_path / "log"
    command = (sys.executable, "-m", "flows.retrain", "--ticker", "BUSY", *SMALL.split())
    through = environment | {"PREFECT_API_URL": f"http://127.0.0.1:{proxy.port}/api"}
    process = start(*command, environment=through, cwd=tmp_path, log=log)
    wait_for(lambda: "Beginning flow run" in log.read_text(), "the flow to begin")
    with answering(503, b"busy", healthy=True) as busy:
        proxy.turn_to(busy)
        assert process.wait(600) == 1
    said = log.read_text()
    assert "Traceback" not in said
    assert said.splitlines()[-1] == (
        f"error: the Prefect server at {through['PREFECT_API_URL']} answers HTTP 503: it is busy "
        "or broken; what was recorded until then stays: start again to complete it"
    )
    with sqlite3.connect(environment["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")) as store:
        runs = store.execute("SELECT status FROM runs WHERE name LIKE 'retrain%BUSY%'")
        assert {status for (status,) in runs} == {"FINISHED"}
