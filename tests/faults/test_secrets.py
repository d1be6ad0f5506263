"""Every flow as a real process, and what all of it has written: no secret, no pickle, no markup.

A PostgreSQL server keeps MLflow and the ledger, and a Prefect server the flow runs. Every address
has a password, every variable that may hold a secret holds one, and each of them is another word.
"""

import base64
import http.server
import io
import os
import pickle
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from tests.faults.pickles import pickles_below, pickles_in
from tests.postgres import Postgres, running_postgres
from tests.processes import CHECKOUT, end, free_port, isolated, run, start, wait_for

PURPOSES = (
    *("tracking", "ledger", "prefect", "proxy", "password", "token", "key", "login", "auth"),
    *("aws", "session", "postgres", "github", "absent", "refused", "malformed", "dask", "source"),
    *("query", "option"),
)
SECRET = {purpose: f"h7sh{number:02}m{number * 7919}" for number, purpose in enumerate(PURPOSES)}


def login(purpose: str) -> str:
    """Return the user and the password of an address."""
    return f"me:{SECRET[purpose]}"


NAME = "![x](http://127.0.0.1:9/x.png)[red]<img src=x onerror=alert(1)>[/red]\x1b[31m"  # a column
SMALL = (
    *("--training.epochs", "1", "--training.seeds", "1", "--model.hidden_size", "2"),
    *("--evaluation.train_days", "250", "--evaluation.valid_days", "50"),
    *("--evaluation.test_days", "400"),
)
FILE = ("--source.kind", "file", "--source.path", "prices.csv", "--source.price_column", NAME)
FIRST, SECOND, LATER = "2013-02-01T22:00:00Z", "2013-02-04T22:00:00Z", "2013-02-06T22:00:00Z"


@dataclass
class Written:
    """Everything that the processes have left behind."""

    home: Path
    output: dict[str, str] = field(default_factory=dict)  # by command
    codes: dict[str, int] = field(default_factory=dict)
    artifacts: str = ""
    notes: list[str] = field(default_factory=list)

    def keep(self, name: str, done: "subprocess.CompletedProcess[str]") -> None:
        self.output[name] = done.stdout + done.stderr
        self.codes[name] = done.returncode
        (self.home / f"{name}.log").write_text(self.output[name])

    def everything(self) -> Iterator[tuple[str, bytes]]:
        """Yield each file, the output of the processes among them, by name."""
        for path in sorted(self.home.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield str(path.relative_to(self.home)), path.read_bytes()


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers 401, and repeats what it was sent."""

    def answer(self) -> None:
        given = self.headers.get("Authorization", "")
        login = base64.b64decode(given.partition(" ")[2] + "==").decode(errors="replace")
        body = f"refused: Authorization: {given}, which is {login}, at {self.path}".encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def refusing() -> Iterator[int]:
    """The port of a server that refuses every password."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, refusing: int) -> Written:
    """Run every flow, and those that fail, once; the processes have ended by then."""
    home = tmp_path_factory.mktemp("secrets")
    work = home / "work"
    work.mkdir()
    _write_prices(work / "prices.csv")
    written = Written(home)
    port = free_port()
    try:
        _start_prefect(home, port)
        environment = _environment(home, postgres, port)
        _run_flows(written, work, environment)
        _fail(written, work, environment, refusing)
        written.artifacts = httpx.post(
            f"http://127.0.0.1:{port}/api/artifacts/filter", json={}, timeout=60
        ).text
        _keep_databases(written, postgres, environment)
    finally:
        end(home)
    return written


def _write_prices(path: Path) -> None:
    rows = (CHECKOUT / "tests/data/AAPL.csv").read_text().splitlines()
    body = [row.rsplit(",", 1) for row in rows[-900:]]
    quoted = f'"{NAME}"'
    lines = [f"{rows[0].rsplit(',', 1)[0]},{quoted}", *(",".join(row) for row in body)]
    path.write_text("\n".join(lines) + "\n")


def _start_prefect(home: Path, port: int) -> None:
    address = f"http://127.0.0.1:{port}/api"
    start(
        *("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)),
        environment=isolated(home, PREFECT_API_URL=address),
        cwd=home,
        log=home / "server.log",
    )
    wait_for(lambda: _healthy(address), "the Prefect server")


def _healthy(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").is_success
    except httpx.TransportError:
        return False


def _environment(home: Path, postgres: Postgres, port: int) -> dict[str, str]:
    server = f"{postgres.host}:{postgres.port}"
    postgres.create_database("mlflow")
    postgres.create_database("ledger")
    proxy = f"http://{login('proxy')}@127.0.0.1:9"
    return isolated(
        home,
        PYTHONPATH=str(CHECKOUT),
        MLFLOW_TRACKING_URI=f"postgresql+psycopg://postgres:{SECRET['tracking']}@{server}/mlflow",
        LEDGER_URL=f"postgresql://postgres:{SECRET['ledger']}@{server}/ledger"
        f"?sslpassword={SECRET['option']}",
        PREFECT_API_URL=f"http://{login('prefect')}@127.0.0.1:{port}/api",
        PREFECT_API_KEY=SECRET["key"],
        PREFECT_API_AUTH_STRING=f"{login('login')}",
        MLFLOW_TRACKING_USERNAME="me",
        MLFLOW_TRACKING_PASSWORD=SECRET["password"],
        MLFLOW_TRACKING_TOKEN=SECRET["token"],
        RNNFLOW_AUTH=f"{login('auth')}",
        AWS_SECRET_ACCESS_KEY=SECRET["aws"],
        AWS_SESSION_TOKEN=SECRET["session"],
        PGPASSWORD=SECRET["postgres"],
        GITHUB_TOKEN=SECRET["github"],
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy),
    )


def _command(
    written: Written, work: Path, environment: dict[str, str], name: str, *options: str
) -> str:
    module = name.split()[0]
    done = run(sys.executable, "-m", f"flows.{module}", *options, environment=environment, cwd=work)
    written.keep(name, done)
    return done.stdout


def _run_flows(written: Written, work: Path, environment: dict[str, str]) -> None:
    """Run each flow so that it succeeds, in the order of their needs."""
    say = (written, work, environment)
    ticker = ("--ticker", "AAPL")
    _command(*say, "retrain", *ticker, *FILE, *SMALL, "--now", FIRST)
    with ThreadPoolExecutor(2) as two:
        for name, *options in (
            ("retrain again", *ticker, *FILE, *SMALL, "--now", SECOND),
            ("study", "--name", "sine-next-value", "--size", "0.05", "--training.epochs", "1"),
        ):
            two.submit(_command, *say, name, *options)
    _command(*say, "forecast", *ticker, *FILE, "--now", SECOND)
    (work / "tickers.txt").write_text("AAPL\nMSFT\n")
    (work / "MSFT.csv").write_bytes((work / "prices.csv").read_bytes())
    (work / "AAPL.csv").write_bytes((work / "prices.csv").read_bytes())
    by_ticker = tuple("{ticker}.csv" if option == "prices.csv" else option for option in FILE)
    with ThreadPoolExecutor(2) as two:
        for name, *options in (
            ("score", *ticker, *FILE, "--now", LATER),
            ("compare", "--runs", "AAPL/1", "AAPL/2"),
            ("universe", "--file", "tickers.txt", *by_ticker, *SMALL, "--now", LATER),
            ("audit", *ticker, *FILE, *SMALL, "--now", LATER, "--series", "10", "--edges", "0.6"),
        ):
            two.submit(_command, *say, name, *options)
    _command(*say, "rollback", *ticker)
    run_id = (
        MlflowClient(environment["MLFLOW_TRACKING_URI"])
        .get_model_version("direction-AAPL", "1")
        .run_id
    )
    _command(*say, "reproduce", "--run", str(run_id))
    _command(*say, "prune", "--days", "0", "--keep", "0")


def _fail(written: Written, work: Path, environment: dict[str, str], refusing: int) -> None:
    """Run flows that fail at every address that has a password, two at a time."""
    retrain = ("--ticker", "FAIL", *FILE, *SMALL, "--now", FIRST)
    nowhere = "127.0.0.1:9"
    no_mlflow = {"MLFLOW_TRACKING_URI": f"http://{login('absent')}@{nowhere}"}
    no_ledger = {"LEDGER_URL": f"postgresql://{login('absent')}@{nowhere}/x"}
    no_prefect = {"PREFECT_API_URL": f"http://{login('absent')}@{nowhere}/api"}
    refused = f"http://{login('refused')}@127.0.0.1:{refusing}?token={SECRET['query']}"
    url = f"https://{login('source')}@{nowhere}/prices.csv"
    cases: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
        "retrain, MLflow absent": (
            no_mlflow, retrain),
        "retrain, MLflow absent, verbose": (
            no_mlflow, (*retrain, "--verbose")),
        "retrain, MLflow refuses": (
            {"MLFLOW_TRACKING_URI": refused}, retrain),
        "forecast, MLflow refuses": (
            {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{refusing}"}, ()),
        "retrain, MLflow's PostgreSQL absent": (
            {"MLFLOW_TRACKING_URI": f"postgresql+psycopg://{login('absent')}@{nowhere}/x"},
            retrain),
        "retrain, MLflow's address malformed": (
            {"MLFLOW_TRACKING_URI": f"http://{login('malformed')}/x@host:y"}, retrain),
        "retrain, MLflow's driver unknown": (
            {"MLFLOW_TRACKING_URI": f"oracle://{login('malformed')}@host/x"}, retrain),
        "score, ledger absent": (
            no_ledger, ()),
        "score, ledger malformed": (
            {"LEDGER_URL": f"postgresql://{login('malformed')}@[host/x"}, ()),
        "retrain, Yahoo behind a proxy": (
            {}, ("--ticker", "MSFT", "--source.fallback", "none", *SMALL)),
        "universe, Dask with a password": (
            {}, ("--tickers", "A,B", "--runner.kind", "dask",
                 "--runner.address", f"tcp://{login('dask')}@{nowhere}")),
        "retrain, a URL for a file": (
            {}, ("--source.kind", "file", "--source.path", url)),
        "universe, a URL for a file": (
            {}, ("--file", url)),
        "prune, Prefect absent": (no_prefect, ()),
    }  # fmt: skip
    with ThreadPoolExecutor(2) as two:
        for name, (variables, options) in cases.items():
            others = environment | variables
            two.submit(_command, written, work, others, name.replace(",", ""), *options)


def _keep_databases(written: Written, postgres: Postgres, environment: dict[str, str]) -> None:
    """Write the databases as text, and keep the notes of MLflow's runs."""
    for name in ("mlflow", "ledger"):
        postgres.run("pg_dump", "--file", str(written.home / f"{name}.sql"), name)
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    for found in client.search_runs(ids):
        written.notes.append(found.data.tags.get("mlflow.note.content", ""))
    for version in client.search_model_versions("name = 'direction-AAPL'"):
        written.notes.append(version.description or "")


SUCCEEDED = (
    *("retrain", "retrain again", "study", "forecast", "score", "compare", "universe", "rollback"),
    *("reproduce", "prune", "audit"),
)


def test_the_flows_ran_and_the_failing_ones_failed(written: Written) -> None:
    for name, code in written.codes.items():
        assert (code == 0) == (name in SUCCEEDED), f"{name}: {written.output[name]}"
    assert {name for name, code in written.codes.items() if not code} == set(SUCCEEDED)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_no_secret_was_written_anywhere(written: Written, purpose: str) -> None:
    secret = SECRET[purpose]
    spellings = [secret.encode(), quote(secret, safe="").encode()]
    for before in ("", "me:", "postgres:", ":"):
        encoded = base64.b64encode(f"{before}{secret}".encode())
        spellings.append(encoded[: len(encoded) // 4 * 4 - 4])
    found = [
        f"{name}: {content[max(0, at - 100) : at + 60]!r}"
        for name, content in written.everything()
        for spelling in spellings
        if (at := content.find(spelling)) >= 0
    ]
    assert found == []


def test_no_traceback_was_written_where_none_was_asked_for(written: Written) -> None:
    """The addresses that are shown have their passwords hidden, so one sees which they are."""
    hidden = [name for name, text in written.output.items() if ":***@" in text]
    assert {"retrain MLflow absent", "retrain MLflow refuses", "score ledger absent"} <= set(hidden)


def test_no_pickle_was_written_anywhere(written: Written) -> None:
    assert pickles_below(written.home) == []


def test_a_pickle_would_be_found(tmp_path: Path) -> None:
    objects = io.BytesIO()
    np.save(objects, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    model = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, model)
    plain = [pickle.dumps({"a": [1, 2]}, protocol) for protocol in (2, 3, 4, 5)]
    for content in (*plain, objects.getvalue(), model.getvalue(), b"SQLite" + plain[2] + b"rest",
                    b'{"data": "' + base64.b64encode(plain[2]) + b'"}'):  # fmt: skip
        assert list(pickles_in(content))
    np.savez(tmp_path / "a.npz", a=np.array([{"a": 1}], dtype=object))
    (tmp_path / "model.joblib").write_bytes(b"x")
    assert len({found.partition(":")[0] for found in pickles_below(tmp_path)}) == 2
    assert list(pickles_in(os.urandom(1_000_000))) == []


def test_a_column_named_like_markup_is_shown_as_text(written: Written) -> None:
    """In the terminal, in Prefect's artifacts and in MLflow's notes."""
    assert "\x1b" not in "".join(written.output.values())
    assert "[red]<img src=x onerror=alert(1)>[/red]\\x1b[31m" in written.output["retrain"]
    for text in (written.artifacts.replace("\\\\", "\\"), *written.notes):
        assert "<img" not in text
        assert not re.search(r"(?<!\\)\]\(http://127\.0\.0\.1:9", text)
    assert "&lt;img src=x" in written.artifacts
    assert any("&lt;img src=x" in note for note in written.notes)
