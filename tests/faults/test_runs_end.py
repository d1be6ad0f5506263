"""A run's end is written down, whatever ends its process: at once, or at the next start."""

import json
import os
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.faults.ending import WAYS
from tests.flows.conftest import AAPL
from tests.processes import CHECKOUT, end, isolated, run, start, wait_for

TIMES = int(os.environ.get("FAULT_TIMES", "2"))  # each end; 10 and more in the long form
AT_ONCE = {"sys.exit(3)", "sys.exit()"}  # ends that unwind the process
SLOW = ("--training.epochs", "100000", "--training.patience", "null", "--training.seeds", "1")


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """How each end left its runs, and how the next start did."""
    folder = tmp_path_factory.mktemp("ends")
    (folder / "tmp").mkdir()
    environment = isolated(folder, PYTHONPATH=str(CHECKOUT), TMPDIR=str(folder / "tmp"))
    command = (sys.executable, "-m", "tests.faults.ending", str(TIMES))
    done = run(*command, environment=environment, cwd=folder, timeout=600 + 60 * TIMES)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_end_was_tried(ends: list[dict[str, Any]]) -> None:
    assert Counter(end["way"] for end in ends) == dict.fromkeys(WAYS, TIMES)


@pytest.mark.parametrize("way", WAYS)
def test_a_run_does_not_stay_running_nor_is_it_finished(
    ends: list[dict[str, Any]], way: str, record_property: Any
) -> None:
    record_property("times", TIMES)
    for end_of_run in ends:
        if end_of_run["way"] == way:
            before = "FAILED" if way in AT_ONCE else "RUNNING"
            assert end_of_run["left"]["statuses"] == [before, before]
            assert end_of_run["closed"]["statuses"] == ["FAILED", "FAILED"]
            reason = "SystemExit" if way in AT_ONCE else "its process is gone ("
            assert all(error.startswith(reason) for error in end_of_run["closed"]["errors"])


@pytest.mark.parametrize("way", WAYS)
def test_what_was_left_half_done_is_deleted(ends: list[dict[str, Any]], way: str) -> None:
    for end_of_run in ends:
        if end_of_run["way"] == way:
            closed = end_of_run["closed"]
            assert (closed["pending"], closed["versions"], closed["folders"]) == (0, 0, 0)
            assert closed["aliases"] == {}
            if way not in AT_ONCE:
                left = end_of_run["left"]
                assert (left["pending"], left["versions"], left["folders"]) == (2, 1, 1)


@pytest.mark.parametrize("command", ["retrain", "universe"])
def test_sigterm_closes_the_run_of_a_command_in_order(command: str, tmp_path: Path) -> None:
    """A universe has a child at work in a process of its own, which ends with it."""
    named = ("--ticker", "AAPL")
    if command == "universe":
        named = ("--tickers", "AAPL", "--runner.kind", "processes")
    source = ("--source.kind", "file", "--source.path", str(AAPL))
    environment = isolated(
        tmp_path, PYTHONPATH=str(CHECKOUT), MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db"
    )
    log = tmp_path / "log"
    process = start(
        *(sys.executable, "-m", f"flows.{command}", *named, *source, *SLOW),
        environment=environment,
        cwd=tmp_path,
        log=log,
    )
    try:
        wait_for(lambda: _trains(tmp_path), "the training")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
        assert "error: ended by SIGTERM" in log.read_text()
        assert "Traceback" not in log.read_text()
        latest = _runs(tmp_path)[-1]
        assert latest.info.status == "KILLED", log.read_text()
        assert latest.data.tags["error"].startswith("TerminationSignal(")
    finally:
        end(tmp_path)


def _trains(folder: Path) -> bool:
    """Return whether a run has its prices; without MLflow, which may be making its tables."""
    address = f"file:{folder}/mlflow.db?mode=ro"
    query = "SELECT COUNT(*) FROM tags WHERE key = 'data.sha256'"
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(address, uri=True)) as store:
        return bool(store.execute(query).fetchone()[0])
    return False


def _runs(folder: Path) -> list[Run]:
    """Return all runs, the latest first."""
    store = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in store.search_experiments()]
    return list(store.search_runs(experiments))
