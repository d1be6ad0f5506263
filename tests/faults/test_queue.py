"""Many runs of deployments at one moment, done by the one worker of a stack."""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from threading import Event, Thread
from typing import Any

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun

from flows.stack.healing import QUEUE_LIMIT
from tests.processes import CHECKOUT, processes, wait_for
from tests.stack_copy import Copy, copied

STARTS = int(os.environ.get("RNNFLOW_STARTS", "3"))
QUEUED = int(os.environ.get("RNNFLOW_QUEUED", "6"))
FLAT = 1.1  # memory of the fourth fifth by that of the second; in the last the queue runs empty
LONG = 100  # runs in the queue, from which on the memory is judged
NOW = "2013-03-01T22:00:00Z"
SMALL: dict[str, Any] = {
    "source": {"kind": "file", "path": "data/prices.csv", "exchange": "XNYS"},
    "training": {"epochs": 1, "seeds": 1},
    "now": NOW,
}
ENDS = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    folder = tmp_path_factory.mktemp("queue")
    (folder / "data").mkdir()
    (folder / "data/prices.csv").write_bytes((CHECKOUT / "tests/data/MSFT.csv").read_bytes())
    with copied(folder) as copy:
        copy.start_and_wait()
        yield copy


def states(copy: Copy, runs: list[FlowRun]) -> Counter[str]:
    """How many of the runs are in each state."""
    ids = FlowRunFilter(id=FlowRunFilterId(any_=[run.id for run in runs]))
    with copy.client() as client:
        found = client.read_flow_runs(flow_run_filter=ids, limit=len(runs))
    return Counter(run.state_type.value for run in found if run.state_type)


def begun(copy: Copy, runs: list[FlowRun]) -> int:
    """How many of the runs are at work; never more than the queue allows."""
    found = states(copy, runs)
    at_work = found["PENDING"] + found["RUNNING"]
    assert at_work <= QUEUE_LIMIT
    return at_work


def wait_for_all(copy: Copy, runs: list[FlowRun], seconds: float) -> Counter[str]:
    wait_for(lambda: ENDS.issuperset(states(copy, runs)), "the runs", seconds)
    return states(copy, runs)


def retrained(folder: Path, ticker: str) -> list[str]:
    """The states of MLflow's runs of a ticker."""
    with sqlite3.connect(folder / "mlflow.db") as store:
        found = store.execute("SELECT status FROM runs WHERE name = ?", [f"retrain-{ticker}"])
        return [status for (status,) in found]


@pytest.mark.parametrize(("deployment", "count"), [("daily", STARTS), ("adhoc", 2)])
def test_starts_of_a_deployment_at_one_moment_retrain_once(
    copy: Copy, deployment: str, count: int, record_property: Any
) -> None:
    ticker = deployment.upper()
    runs = [copy.run(f"retrain/{deployment}", ticker=ticker, **SMALL) for _ in range(count)]
    ended = wait_for_all(copy, runs, 120 + 20 * count)
    assert ended["COMPLETED"] >= 1
    assert set(ended) <= {"COMPLETED", "CANCELLED"}
    assert retrained(copy.folder, ticker) == ["FINISHED"]
    record_property("times", count)


def test_runs_that_are_queued_complete_and_none_twice(copy: Copy, record_property: Any) -> None:
    """With many of them the memory of the servers, the worker and all runs does not grow."""
    over, memory = Event(), list[int]()
    watcher = Thread(target=watch, args=(copy, memory, over))
    watcher.start()
    try:
        tickers = [f"QUEUED{number}" for number in range(QUEUED)]
        runs = [copy.run("retrain/adhoc", ticker=ticker, **SMALL) for ticker in tickers]
        wait_for(lambda: begun(copy, runs) == QUEUE_LIMIT, "the first of the queue")
        of_the_schedule = copy.run("retrain/daily", ticker="PASSES", **SMALL)
        wait_for(lambda: begun(copy, [of_the_schedule]) == 1, "the run of the schedule")
        assert states(copy, runs)["SCHEDULED"] > 0, "it has not waited for the queue"
        ended = wait_for_all(copy, runs, 120 + 20 * QUEUED)
    finally:
        over.set()
        watcher.join()
    assert ended == {"COMPLETED": QUEUED}
    assert wait_for_all(copy, [of_the_schedule], 300) == {"COMPLETED": 1}
    assert all(retrained(copy.folder, ticker) == ["FINISHED"] for ticker in tickers)
    record_property("times", QUEUED)
    record_property("most_memory_mb", max(memory) // 2**20)
    if QUEUED >= LONG:
        fifth = len(memory) // 5
        second, last = mean(memory[fifth : 2 * fifth]), mean(memory[-2 * fifth : -fifth])
        record_property("memory_growth", last / second)
        assert last <= FLAT * second, (second, last)


def watch(copy: Copy, memory: list[int], over: Event) -> None:
    """Add the bytes that all processes of the stack hold, every two seconds."""
    while not over.wait(2):
        pids = processes("PREFECT_HOME", copy.home)
        memory.append(sum(held(pid) for pid in pids))


def held(pid: int) -> int:
    """The bytes of memory that a process has to itself, by its share of what several have."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
