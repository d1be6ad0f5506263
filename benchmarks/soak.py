"""`retrain-universe` over 500 synthetic tickers on every core: its time, memory and disk space.

A quarter of the default ensemble, five years of prices, one process a core. Memory is that of the
flow and all of its processes, sampled every second. It is flat if the last fifth of the tickers
needs at most a tenth more than the second fifth.
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

from rnn_core.config import Promotion, Runner, Synthetic, Training

TICKERS = 500
FLAT = 1.1  # memory of the last fifth by that of the second
NOW = datetime(2021, 6, 2, 22, tzinfo=UTC)


def main() -> list[str]:
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
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
            tickers=tuple(f"SOAK{number}" for number in range(TICKERS)),
            source=Synthetic(days=1260),
            training=Training(seeds=2),
            promotion=Promotion(allow_synthetic=True),
            runner=Runner(kind="processes"),
            now=NOW,
        )
    seconds = perf_counter() - before
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    second, last = _fifths(memory)
    print(
        f"{len(done)} of {TICKERS} tickers in {seconds:.0f} s, {seconds / TICKERS:.2f} s a ticker, "
        f"{os.cpu_count()} cores"
    )
    print(
        f"memory: at most {max(memory) / 1e6:.0f} MB; "
        f"second fifth {second / 1e6:.0f}, last fifth {last / 1e6:.0f} MB"
    )
    print(f"on disk: {size:.0f} MB, {size / TICKERS:.2f} MB a ticker")
    broken = [f"{len(done.failed)} tickers failed: {done.failed}"] if done.failed else []
    if last > FLAT * second:
        broken.append(f"memory grew from {second / 1e6:.0f} to {last / 1e6:.0f} MB")
    return broken


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
