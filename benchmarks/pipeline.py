"""What a retrain costs beside training and evaluation, with a running Prefect server: of one ticker, and of a hundred.

The server, its database and MLflow's are fresh and local; the prices are made, those of the hundred are in the price
store. The first `retrain`, which fills caches and creates tables, is not counted. `outside` is what a run took without
its laps `train` and `evaluate`; `process` is the whole command, with the imports and Prefect's own start and end. Of
the hundred, `outside` is the time of the whole command without those laps, which two processes share, by ticker.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import httpx
import numpy as np
from mlflow import MlflowClient

from benchmarks.rounds import save
from rnn_core.data.exchanges import sessions
from rnn_core.data.store import COLUMNS, update
from rnn_core.data.synthetic import random_walk
from tests.processes import CHECKOUT, end, free_port, isolated, run, start, wait_for

ROUNDS, TICKERS, PROCESSES = 3, 100, 2
WORK = ("train", "evaluate")
FIRST, NOW = date(2016, 6, 1), datetime(2021, 6, 2, 22, tzinfo=UTC)


@dataclass(frozen=True)
class Step:
    """The seconds of one step: the median of several runs, or by ticker."""

    case: str
    step: str
    seconds: float


def main() -> list[str]:
    with TemporaryDirectory() as folder, server(Path(folder)) as environment:
        home = Path(folder)
        runs = [retrain(environment, home) for _ in range(ROUNDS + 1)][1:]
        steps = [Step("retrain", step, median(one[step] for one in runs)) for step in runs[0]]
        steps += universe(environment, home)
    for step in steps:
        print(f"{step.seconds:7.2f} s  {step.case}, {step.step}")
    save("pipeline", steps)
    return []


@contextmanager
def server(home: Path) -> Iterator[dict[str, str]]:
    """A Prefect server in `home`; yields the environment of what is to use it."""
    port = str(free_port())
    address = f"http://127.0.0.1:{port}/api"
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db", "PYTHONPATH": str(CHECKOUT)}
    environment = isolated(home, PREFECT_API_URL=address, **own)
    command = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", port)
    try:
        start(*command, environment=environment, cwd=home, log=home / "server.log")
        wait_for(lambda: healthy(address), "the Prefect server")
        yield environment
    finally:
        end(home)


def healthy(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").is_success
    except httpx.TransportError:
        return False


def retrain(environment: dict[str, str], home: Path) -> dict[str, float]:
    """Seconds by step of one run, what is outside training and evaluation, and the whole process."""
    process = timed(
        environment, home, "flows.retrain", "--ticker", "WALK", "--source.kind", "synthetic"
    )
    [laps] = all_laps(environment, "retrain", 1)
    outside = sum(seconds for step, seconds in laps.items() if step not in WORK)
    return laps | {"outside": outside, "process": process}


def universe(environment: dict[str, str], home: Path) -> list[Step]:
    """Seconds a ticker of a universe whose prices are all stored."""
    days = sessions("XNYS", FIRST, NOW.date()).rename("date")
    for number in range(TICKERS):
        walk = random_walk(len(days), 0.0, np.random.SeedSequence(number)).set_axis(days)
        frame = walk.assign(adj_close=walk["close"])[COLUMNS]
        update(
            home / "data/prices",
            f"WALK{number}",
            lambda _, frame=frame: frame,
            start=FIRST,
            last_session=days[-1],
            now=NOW,
        )
    options = ("--source.start", str(FIRST), "--now", NOW.isoformat(), "--training.seeds", "2")
    side_by_side = ("--runner.kind", "processes", "--runner.workers", str(PROCESSES))
    process = timed(environment, home, "flows.universe", *options, *side_by_side)
    laps = all_laps(environment, "retrain-universe", TICKERS)
    steps = {step: sum(one[step] for one in laps) for step in laps[0]}
    outside = process - sum(steps[step] for step in WORK) / PROCESSES
    case = f"retrain-universe, {TICKERS} stored tickers, a ticker"
    return [
        Step(case, step, seconds / TICKERS)
        for step, seconds in (steps | {"outside": outside}).items()
    ]


def timed(environment: dict[str, str], home: Path, *command: str) -> float:
    """Seconds that a command takes."""
    before = perf_counter()
    done = run("python", "-m", *command, environment=environment, cwd=home, timeout=1800)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return perf_counter() - before


def all_laps(environment: dict[str, str], experiment: str, last: int) -> list[dict[str, float]]:
    """Seconds by step of the last runs of an experiment, as they logged them."""
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    ids = [one.experiment_id for one in client.search_experiments() if one.name == experiment]
    laps = [
        {
            name.removeprefix("seconds/"): value
            for name, value in one.data.metrics.items()
            if "seconds/" in name
        }
        for one in client.search_runs(ids, order_by=["attributes.start_time DESC"])
    ]
    return [each for each in laps if each][:last]
