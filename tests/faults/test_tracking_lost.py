"""MLflow or the ledger is lost in the middle of a retrain: one line, and a rerun completes it."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient

from tests.faults.door import FAULTS
from tests.faults.losing import AAPL
from tests.processes import CHECKOUT, end, free_port, isolated, processes, run, start, wait_for

TIMES = int(os.environ.get("FAULT_TIMES", "2"))  # each fault; 10 and more in the long form
FULL = ("mlflow.db is full", "ledger.db is full")
BY = {"mlflow.db is full": "TrackingError", "ledger.db is full": "LedgerError"}
HASTY = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0"}


class Server:
    """An MLflow server in a folder, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = isolated(folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        start(
            *(sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"),
            *("--backend-store-uri", "sqlite:///mlflow.db"),
            environment=self.environment,
            cwd=self.folder,
            log=self.folder / "server.log",
        )
        wait_for(self._answers, "the MLflow server")

    def kill(self) -> None:
        for pid in processes("PREFECT_HOME", self.folder):
            os.kill(pid, signal.SIGKILL)

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/health") as answer:
                return bool(answer.status == 200)
        except (URLError, ConnectionError):
            return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    try:
        server.start()
        yield server
    finally:
        end(server.folder)


@pytest.fixture(scope="module")
def door(server: Server) -> str:
    port = str(free_port())
    start(
        *(sys.executable, "-m", "tests.faults.door", port, str(server.port)),
        environment=server.environment | {"PYTHONPATH": str(CHECKOUT)},
        cwd=server.folder,
        log=server.folder / "door.log",
    )
    return port


def trials(fault: str, folder: Path, door: str = "0") -> list[dict[str, Any]]:
    """Return how each trial of a fault ended."""
    (folder / "tmp").mkdir()
    environment = isolated(folder, PYTHONPATH=str(CHECKOUT), TMPDIR=str(folder / "tmp"), **HASTY)
    command = (sys.executable, "-m", "tests.faults.losing", fault, str(TIMES), door)
    done = run(*command, environment=environment, cwd=folder, timeout=600 + 60 * TIMES)
    assert done.returncode == 0, done.stderr
    assert not list((folder / "tmp").glob("rnnflow*")), "temporary folders"
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def assert_completed_once(trial: dict[str, Any], error: str) -> None:
    """The first retrain ended in one line or completed; in the end all is there, once."""
    assert trial["error"] in ("", error), trial
    assert "\n" not in trial["text"]
    assert len(trial["text"]) < 1000
    assert trial["again"].strip() == "", trial
    assert trial["statuses"].count("FINISHED") == 1, trial
    assert set(trial["statuses"]) <= {"FINISHED", "FAILED"}, trial
    assert (trial["trainings"], trial["kept"], trial["pending"]) == (1, 0, 0), trial
    assert (trial["looks"], trial["promotions"], trial["versions"]) == ([1], 1, 1), trial


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_is_lost_at_any_request(
    fault: str, door: str, tmp_path: Path, record_property: Any
) -> None:
    ends = trials(fault, tmp_path, door)
    assert len(ends) == TIMES
    for trial in ends:
        assert_completed_once(trial, "TrackingError")
    assert len({calls for trial in ends for calls in trial["calls"]}) == 1, "bits differ"
    record_property("times", TIMES)


@pytest.mark.parametrize("fault", FULL)
def test_a_disk_that_is_full_at_any_write(fault: str, tmp_path: Path, record_property: Any) -> None:
    ends = trials(fault, tmp_path)
    assert len(ends) == TIMES
    assert any(trial["error"] for trial in ends)
    for trial in ends:
        assert_completed_once(trial, BY[fault])
    assert len({calls for trial in ends for calls in trial["calls"]}) == 1, "bits differ"
    record_property("times", TIMES)


def test_a_command_says_in_one_line_that_its_server_was_killed(
    server: Server, tmp_path: Path
) -> None:
    """Started again with the server, the command does not train again."""
    environment = isolated(
        tmp_path, PYTHONPATH=str(CHECKOUT), MLFLOW_TRACKING_URI=server.url, **HASTY
    )
    source = ("--source.kind", "file", "--source.path", str(AAPL))
    options = ("--training.epochs", "2", "--training.seeds", "1", "--evaluation.test_days", "1000")
    command = (sys.executable, "-m", "flows.retrain", "--ticker", "CMD", *source, *options)
    log = tmp_path / "log"
    process = start(*command, environment=environment, cwd=tmp_path, log=log)
    try:
        wait_for(lambda: list((tmp_path / "data" / "trained").glob("*.fit")), "the training")
        server.kill()
        assert process.wait(120) == 1
        errors = [line for line in log.read_text().splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, log.read_text()
        assert errors[0].startswith(f"error: MLflow at {server.url} cannot be used (")
        assert "Traceback" not in log.read_text()
        server.start()
        done = run(*command, environment=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "the training of CMD is that of data/trained/CMD-" in done.stderr
        assert not list((tmp_path / "data" / "trained").iterdir())
        store = MlflowClient(server.url)
        experiment = store.get_experiment_by_name("retrain")
        assert experiment is not None
        found = store.search_runs([experiment.experiment_id], "tags.ticker = 'CMD'")
        assert sorted(run.info.status for run in found) == ["FAILED", "FINISHED"]
    finally:
        end(tmp_path)
