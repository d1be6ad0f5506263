"""What a retrain costs besides training and evaluation: of one ticker, and of a hundred.

A Prefect server is running. The server, its database and MLflow's are fresh and local; the prices
are made, those of the hundred are in the price store. The first `retrain`, which fills caches and
creates tables, is not counted. `outside` is the time of a run without its laps `train` and
`evaluate`; `process` is the whole command, including the imports and Prefect's start and end. Of
the hundred, `outside` is the time of the whole command without those laps, which two processes
share, by ticker.
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
import pandas as pd
from mlflow import MlflowClient

from benchmarks.rounds import save
from rnn_core.data.answers import Answer
from rnn_core.data.exchanges import sessions
from rnn_core.data.store import COLUMNS, update
from rnn_core.data.synthetic import random_walk
from tests.processes import CHECKOUT, end, free_port, isolated, run, start, wait_for

ROUNDS = 3
TICKERS = 100
PROCESSES = 2
WORK = ("train", "evaluate")
FIRST = date(2016, 6, 1)
NOW = datetime(2021, 6, 2, 22, tzinfo=UTC)
LAP = "seconds/"  # what the metric of a step's time starts with

Laps = dict[str, float]  # seconds by step


@dataclass(frozen=True)
class Step:
    """The seconds of one step: the median of several runs, or by ticker."""

    case: str
    step: str
    seconds: float


def main() -> list[str]:
    with TemporaryDirectory() as folder, server(Path(folder)) as environment:
        home = Path(folder)
        steps = one_ticker(environment, home) + universe(environment, home)
    for step in steps:
        print(f"{step.seconds:7.2f} s  {step.case}, {step.step}")
    save("pipeline", steps)
    return []


@contextmanager
def server(home: Path) -> Iterator[dict[str, str]]:
    """Run a Prefect server in `home`; yield the environment for the programs that use it."""
    port = str(free_port())
    address = f"http://127.0.0.1:{port}/api"
    environment = isolated(
        home,
        PREFECT_API_URL=address,
        MLFLOW_TRACKING_URI=f"sqlite:///{home}/mlflow.db",
        PYTHONPATH=str(CHECKOUT),
    )
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


def one_ticker(environment: dict[str, str], home: Path) -> list[Step]:
    """Return the median seconds of each step of several runs."""
    runs = [retrain(environment, home) for _ in range(ROUNDS + 1)]
    counted = runs[1:]
    return [Step("retrain", step, median(laps[step] for laps in counted)) for step in counted[0]]


def retrain(environment: dict[str, str], home: Path) -> Laps:
    """Return the laps of one run, those outside training and evaluation, and the whole process."""
    options = ("--ticker", "WALK", "--source.kind", "synthetic")
    process = timed(environment, home, "flows.retrain", *options)
    [laps] = all_laps(environment, "retrain", 1)
    outside = sum(seconds for step, seconds in laps.items() if step not in WORK)
    return laps | {"outside": outside, "process": process}


def universe(environment: dict[str, str], home: Path) -> list[Step]:
    """Return the seconds a ticker of a universe whose prices are all stored."""
    store_walks(home / "data/prices")
    options = ("--source.start", str(FIRST), "--now", NOW.isoformat(), "--training.seeds", "2")
    runner = ("--runner.kind", "processes", "--runner.workers", str(PROCESSES))
    process = timed(environment, home, "flows.universe", *options, *runner)
    laps = all_laps(environment, "retrain-universe", TICKERS)
    total = {step: sum(of_ticker[step] for of_ticker in laps) for step in laps[0]}
    total["outside"] = process - sum(total[step] for step in WORK) / PROCESSES
    case = f"retrain-universe, {TICKERS} stored tickers, a ticker"
    return [Step(case, step, seconds / TICKERS) for step, seconds in total.items()]


def store_walks(store: Path) -> None:
    days = sessions("XNYS", FIRST, NOW.date()).rename("date")
    for number in range(TICKERS):
        walk = random_walk(len(days), 0.0, np.random.SeedSequence(number)).set_axis(days)
        frame = walk.assign(adj_close=walk["close"])[COLUMNS]
        none = pd.Series(dtype=float, index=days[:0])
        answer = Answer(frame, f"WALK{number}", "USD", splits=none, dividends=none)

        def fetch(_: date, answer: Answer = answer) -> Answer:
            return answer

        update(
            store,
            answer.symbol,
            fetch,
            start=FIRST,
            last_session=days[-1],
            exchange="XNYS",
            now=NOW,
        )


def timed(environment: dict[str, str], home: Path, *command: str) -> float:
    """Return the seconds that a module takes as a program."""
    before = perf_counter()
    done = run("python", "-m", *command, environment=environment, cwd=home, timeout=1800)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return perf_counter() - before


def all_laps(environment: dict[str, str], experiment: str, last: int) -> list[Laps]:
    """Return the logged laps of the last runs of an experiment."""
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    ids = [found.experiment_id for found in client.search_experiments() if found.name == experiment]
    runs = client.search_runs(ids, order_by=["attributes.start_time DESC"])
    laps = [laps_of(run.data.metrics) for run in runs]
    return [of_run for of_run in laps if of_run][:last]


def laps_of(metrics: dict[str, float]) -> Laps:
    return {
        name.removeprefix(LAP): value for name, value in metrics.items() if name.startswith(LAP)
    }
