"""`retrain-universe` over 500 synthetic tickers on every core: how long a night takes, what it needs, what it leaves.

A quarter of the default ensemble, five years of prices, one process a core. Memory is that of the flow and all of its
processes, sampled every second; it is flat if the last fifth of the tickers needs no more than the second fifth, but
for a tenth.
"""

import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from threading import Event, Thread
from time import perf_counter

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
    from rnn_core.config import Promotion, Runner, Synthetic, Training

    memory, stop = [resident()], Event()
    watcher = Thread(target=_watch, args=(memory, stop))
    watcher.start()
    before = perf_counter()
    try:
        done = retrain_universe(
            tickers=tuple(f"SOAK{number}" for number in range(TICKERS)),
            source=Synthetic(days=1260),
            training=Training(seeds=2),
            promotion=Promotion(allow_synthetic=True),
            runner=Runner(kind="processes"),
            now=NOW,
        )
    finally:
        stop.set()
        watcher.join()
    seconds = perf_counter() - before
    fifth = len(memory) // 5
    second, last = (mean(memory[n * fifth : (n + 1) * fifth]) for n in (1, 4))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    each, cores = seconds / TICKERS, os.cpu_count()
    print(
        f"{len(done)} of {TICKERS} tickers in {seconds:.0f} s, {each:.2f} s a ticker, {cores} cores"
    )
    print(
        f"memory: at most {max(memory) / 1e6:.0f} MB; second fifth {second / 1e6:.0f}, last fifth {last / 1e6:.0f} MB"
    )
    print(f"on disk: {size / 1e6:.0f} MB, {size / TICKERS / 1e6:.2f} MB a ticker")
    broken = [f"{len(done.failed)} tickers failed: {done.failed}"] if done.failed else []
    if last > FLAT * second:
        broken.append(f"memory grew from {second / 1e6:.0f} to {last / 1e6:.0f} MB")
    return broken


def resident() -> int:
    """Bytes of memory that this process and all that it has started hold."""
    parents, held = dict[int, int](), dict[int, int]()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            held[int(folder.name)] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    own, found = {os.getpid()}, 0
    while len(own) > found:
        found = len(own)
        own |= {process for process, parent in parents.items() if parent in own}
    return sum(held.get(process, 0) for process in own)


def _watch(memory: list[int], stop: Event) -> None:
    while not stop.wait(1.0):
        memory.append(resident())
