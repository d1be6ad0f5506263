"""A fresh process that trains one network on one ticker, from import to end: ours against others.

All read the same CSV, a random walk, and make 940 updates of 32 windows: hidden 16, T 10, one
layer, Adam, float32, on one core. skorch, Keras (on torch) and JAX get the maths of ours: the next
day's direction, binary cross-entropy of the last state. neuralforecast and darts forecast values
and have no such loss: they learn the next return by squared error, with their own scaling, sampling
and layers, as their scripts say.

Each library is installed as its requirements file pins it, into a virtual environment of its own
under ~/.cache/rnnflow-bench or RNNFLOW_BENCH_VENVS. A library that cannot be installed or fails is
reported and left out.
"""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.rounds import Row, confined, row, save, with_and_without
from rnn_core.config import Synthetic
from rnn_core.data.loading import load

PEERS = Path(__file__).with_name("peers")
NAMES = ("neuralforecast", "darts", "skorch", "keras", "jax")
OURS = "rnnflow"
CLOSES = 1515  # 1504 windows of 10 returns with a next one: 47 batches of 32, 20 times
ROUNDS = 3

Contestant = tuple[str, bool]  # a script of `peers`, and whether our kernel computes


def main() -> list[str]:
    pythons = {name: python for name in NAMES if (python := installed(name))}
    laps = measured(pythons)
    rows: list[Row] = []
    for name in pythons:
        for with_kernel in with_and_without():
            ours = laps[OURS, with_kernel]
            theirs = laps[name, False]
            rows.append(row("whole process", name, ours, theirs, with_kernel, "process"))
    save("peers", rows)
    return []


def measured(pythons: dict[str, Path]) -> dict[Contestant, list[float]]:
    """Return the microseconds of each round by contestant; the first round is not counted."""
    contestants = [(OURS, with_kernel) for with_kernel in with_and_without()]
    contestants += [(name, False) for name in pythons]
    interpreters = pythons | {OURS: Path(sys.executable)}
    laps: dict[Contestant, list[float]] = {contestant: [] for contestant in contestants}
    with TemporaryDirectory() as folder:
        csv = Path(folder) / "prices.csv"
        walk = load(Synthetic(days=CLOSES), "WALK", datetime(2026, 1, 2, tzinfo=UTC)).frame
        walk[["close"]].to_csv(csv)
        for _ in range(ROUNDS + 1):
            for name, with_kernel in contestants:
                lap = seconds(interpreters[name], name, with_kernel, csv)
                laps[name, with_kernel].append(lap * 1e6)
    return {contestant: of_rounds[1:] for contestant, of_rounds in laps.items()}


def installed(name: str) -> Path | None:
    """Return the interpreter of the library's virtual environment, made if missing, or None."""
    default = Path.home() / ".cache" / "rnnflow-bench"
    home = Path(os.environ.get("RNNFLOW_BENCH_VENVS", default)) / name
    python = home / "bin" / "python"
    pinned = PEERS / f"{name}.txt"
    done = home / "installed.txt"
    if done.exists() and done.read_text() == pinned.read_text():
        return python
    print(f"installing {', '.join(pinned.read_text().split())} into {home}", flush=True)
    for command in (
        [sys.executable, "-m", "venv", home],
        [python, "-m", "pip", "install", "--quiet", "--requirement", pinned],
    ):
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            print(f"{name} is left out: {run.stderr.strip().splitlines()[-1]}")
            return None
    done.write_text(pinned.read_text())
    return python


def seconds(python: Path, name: str, with_kernel: bool, csv: Path) -> float:
    """Return the wall time of a process that runs a script of `peers`, on one core."""
    with confined(1, with_kernel):
        before = perf_counter()
        subprocess.run(
            [python, "-m", f"benchmarks.peers.{name}", csv],
            cwd=PEERS.parents[1],
            check=True,
            capture_output=True,
        )
        return perf_counter() - before
