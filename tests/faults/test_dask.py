"""A Dask worker or scheduler that is lost: each ticker is done once, or listed with its reason."""

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from tests.dask_cluster import Cluster
from tests.processes import end, start, wait_for

TICKERS = ("AAA", "BBB", "CCC", "DDD")
SMALL = (
    "--source.kind synthetic --source.days 500 --model.hidden_size 2 --training.epochs 1 "
    "--training.seeds 1 --evaluation.train_days 250 --evaluation.valid_days 50 "
    "--evaluation.test_days 100 --promotion.allow_synthetic --now 2021-06-02T22:00:00Z"
)
SLOW = """
import time
from flows.steps import learning
from rnn_core.nn.training import fit
def slowly(*arguments, **options):
    time.sleep(3)
    return fit(*arguments, **options)
learning.fit = slowly
"""
GREEDY = """
import time
import numpy as np
from flows.steps import learning
from rnn_core.data.windows import windows
def greedy(problem, prices):
    taken = []
    while prices.ticker == "GREEDY":
        taken.append(np.ones(8_000_000))  # 64 MB
        time.sleep(0.05)
    return windows(problem, prices)
learning.windows = greedy
"""
IMPATIENT = """
import runpy
from flows.universe import runners
runners.PATIENCE = 5
runpy.run_module("flows.universe", run_name="__main__")
"""
WITH_NANNY = ("--memory-limit", "1200MB")


@pytest.fixture
def cluster(environment: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    home = tmp_path / "cluster"
    home.mkdir()
    cluster = Cluster(tmp_path, environment | {"PREFECT_HOME": str(home)})
    yield cluster
    end(home)


def universe(
    environment: dict[str, str], folder: Path, tickers: tuple[str, ...], runner: str
) -> tuple["Popen[bytes]", Path]:
    """A universe with options of its runner, and its log."""
    log = folder / "universe.log"
    options = f"--tickers {','.join(tickers)} {runner}"
    command = (sys.executable, "-c", IMPATIENT, *options.split(), *SMALL.split())
    return start(*command, environment=environment, cwd=folder, log=log), log


def on(cluster: Cluster) -> str:
    return f"--runner.kind dask --runner.address {cluster.address}"


def statuses(environment: dict[str, str], ticker: str) -> list[str]:
    with sqlite3.connect(environment["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")) as store:
        name = f"retrain-universe-{ticker}"
        try:
            found = store.execute("SELECT status FROM runs WHERE name = ?", [name]).fetchall()
        except sqlite3.OperationalError:  # the tables are not there yet
            return []
        return sorted(status for (status,) in found)


def assert_each_is_done_once_or_listed(
    environment: dict[str, str], tickers: tuple[str, ...], said: str
) -> None:
    assert "Traceback" not in said
    for ticker in tickers:
        ended = statuses(environment, ticker)
        assert "RUNNING" not in ended
        assert ended.count("FINISHED") <= 1
        assert "FINISHED" in ended or f"{ticker} failed: " in said, (ticker, ended)


@pytest.mark.parametrize("lost", ["every worker", "the scheduler"])
def test_a_lost_cluster_leaves_each_ticker_done_or_listed(
    environment: dict[str, str], cluster: Cluster, tmp_path: Path, lost: str
) -> None:
    tickers = tuple(f"{ticker}{lost.split()[1].upper()}" for ticker in TICKERS)
    worker = cluster.add_worker(preload=SLOW)
    cluster.wait()
    process, log = universe(environment, tmp_path, tickers, on(cluster))
    wait_for(lambda: "FINISHED" in statuses(environment, tickers[0]), "the first ticker")
    (worker if lost == "every worker" else cluster.scheduler).kill()
    process.wait(600)
    assert_each_is_done_once_or_listed(environment, tickers, log.read_text())
    again, _ = universe(environment, tmp_path, tickers, "--runner.kind threads")
    assert again.wait(600) == 0
    assert all(statuses(environment, ticker).count("FINISHED") == 1 for ticker in tickers)


def test_a_ticker_that_needs_too_much_memory_is_listed_and_stops_no_other(
    environment: dict[str, str], cluster: Cluster, tmp_path: Path
) -> None:
    tickers = ("GREEDY", "MODEST1", "MODEST2")
    cluster.add_worker(preload=GREEDY, options=WITH_NANNY)
    cluster.add_worker(preload=GREEDY, options=WITH_NANNY)
    cluster.wait()
    process, log = universe(environment, tmp_path, tickers, on(cluster))
    assert process.wait(300) == 0
    said = log.read_text()
    assert "GREEDY failed: " in said
    assert_each_is_done_once_or_listed(environment, tickers, said)
