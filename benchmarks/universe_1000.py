"""`retrain-universe` over 1,000 synthetic tickers on every core: its time, memory and disk space.

Each has ten years of prices and the default settings; one process a core. Memory is that of the
flow and all of its processes, sampled every second. It is flat if the last fifth of the time needs
at most a tenth more than the second fifth. Time grows as the number of tickers to an exponent, the
slope of the logarithms of the seconds until a ticker was done on those of its place in the order.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from threading import Event, Thread
from time import perf_counter

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run

from rnn_core.config import Promotion, Runner, Synthetic
from rnn_core.nn.arrays import Array

TICKERS = 1000
FLAT = 1.1  # memory of the last fifth by that of the second
MOST_GROWTH = 1.02  # the exponent
SETTLED = 100  # tickers after which the start of the processes no longer counts
NOW = datetime(2021, 6, 2, 22, tzinfo=UTC)


def main() -> list[str]:
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="universe-") as folder:
        os.chdir(folder)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        os.environ["LEDGER_URL"] = f"sqlite:///{folder}/ledger.db"
        try:
            return _night(Path(folder))
        finally:
            os.chdir(here)


def _night(folder: Path) -> list[str]:
    from flows.universe.flow import retrain_universe  # reads the environment

    before = perf_counter()
    with _watched_memory() as memory:
        done = retrain_universe(
            tickers=tuple(f"WALK{number}" for number in range(TICKERS)),
            source=Synthetic(),
            promotion=Promotion(allow_synthetic=True),
            runner=Runner(kind="processes"),
            now=NOW,
        )
    seconds = perf_counter() - before
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    second, last = _fifths(memory)
    print(
        f"{len(done)} of {TICKERS} tickers in {seconds:.0f} s, "
        f"{60 * TICKERS / seconds:.0f} a minute, {os.cpu_count()} cores"
    )
    exponent = growth(_seconds_until_done())
    print(f"time grows as the number of tickers to the {exponent:.3f}")
    print(
        f"memory: at most {max(memory) / 1e6:.0f} MB; "
        f"second fifth {second / 1e6:.0f}, last fifth {last / 1e6:.0f} MB"
    )
    print(f"on disk: {size:.0f} MB, {size / TICKERS:.2f} MB a ticker")
    broken = [f"{len(done.failed)} tickers failed: {done.failed}"] if done.failed else []
    if last > FLAT * second:
        broken.append(f"memory grew from {second / 1e6:.0f} to {last / 1e6:.0f} MB")
    if exponent > MOST_GROWTH:
        broken.append(f"time grows to the {exponent:.3f}; at most {MOST_GROWTH} is asked for")
    return broken


def _seconds_until_done() -> Array:
    """Return the seconds from the start of the first ticker to the end of each, in order."""
    client = MlflowClient()
    experiments = client.search_experiments(filter_string="name = 'retrain-universe'")
    ids = [experiment.experiment_id for experiment in experiments]
    runs = list[Run]()
    token: str | None = None
    while token != "":
        page = client.search_runs(ids, page_token=token)
        runs += [run for run in page if run.data.tags.get("ticker")]
        token = page.token or ""
    start = min(run.info.start_time for run in runs)
    return np.sort([(run.info.end_time - start) / 1000 for run in runs])


def growth(seconds: Array) -> float:
    """Return the exponent by which the seconds until the k-th ticker was done grow with k."""
    places = np.arange(1, len(seconds) + 1)
    settled = slice(min(SETTLED, len(seconds) // 2), None)
    slope, _ = np.polyfit(np.log(places[settled]), np.log(seconds[settled]), 1)
    return float(slope)


@contextmanager
def _watched_memory() -> Iterator[list[int]]:
    """Yield a list to which the memory in bytes is added every second."""
    memory = [resident()]
    stop = Event()
    watcher = Thread(target=_watch, args=(memory, stop))
    watcher.start()
    try:
        yield memory
    finally:
        stop.set()
        watcher.join()


def _watch(memory: list[int], stop: Event) -> None:
    while not stop.wait(1.0):
        memory.append(resident())


def _fifths(memory: list[int]) -> tuple[float, float]:
    """Return the mean memory in the second and in the last fifth of the time."""
    fifth = len(memory) // 5
    return mean(memory[fifth : 2 * fifth]), mean(memory[4 * fifth : 5 * fifth])


def resident() -> int:
    """Return the bytes of memory that this process and its descendants hold."""
    parents = dict[int, int]()
    held = dict[int, int]()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            process = int(folder.name)
            parents[process] = int(fields[1])
            held[process] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return sum(held.get(process, 0) for process in _family(os.getpid(), parents))


def _family(root: int, parents: dict[int, int]) -> set[int]:
    """Return a process and its descendants."""
    family = {root}
    size = 0
    while len(family) > size:
        size = len(family)
        family |= {process for process, parent in parents.items() if parent in family}
    return family
