"""A fresh process that trains one network on one ticker, from import to end: ours against those of other libraries.

All read the same CSV, a random walk, and make 940 updates of 32 windows: hidden 16, T 10, one layer, Adam, float32, on
one core. skorch, Keras (on torch) and JAX are given the maths that ours has: the next day's direction, binary
cross-entropy of the last state. neuralforecast and darts forecast values and know no such loss: they learn the next
return by squared error, and bring their own scaling, sampling and layers, as their scripts say.

Each library is installed as its requirements file pins it, into a virtual environment of its own under
~/.cache/rnnflow-bench or RNNFLOW_BENCH_VENVS. A library that cannot be installed or fails is reported and left out.
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
CLOSES = 1515  # 1504 windows of 10 returns with a next one: 47 batches of 32, 20 times
ROUNDS = 3


def main() -> list[str]:
    pythons = {name: python for name in NAMES if (python := installed(name))}
    everyone = [("rnnflow", own) for own in with_and_without()] + [
        (name, False) for name in pythons
    ]
    with TemporaryDirectory() as folder:
        csv = Path(folder) / "prices.csv"
        load(Synthetic(days=CLOSES), "WALK", datetime(2026, 1, 2, tzinfo=UTC)).frame[
            ["close"]
        ].to_csv(csv)
        laps = [
            {who: seconds(pythons.get(who[0], Path(sys.executable)), *who, csv) for who in everyone}
            for _ in range(ROUNDS + 1)
        ]
    rows: list[Row] = []
    micros = {who: [lap[who] * 1e6 for lap in laps[1:]] for who in everyone}
    for name in pythons:
        for own in with_and_without():
            rows.append(
                row(
                    "whole process",
                    name,
                    micros["rnnflow", own],
                    micros[name, False],
                    own,
                    "process",
                )
            )
    save("peers", rows)
    return []


def installed(name: str) -> Path | None:
    """The interpreter of the library's virtual environment, which is made if need be; None if that cannot be done."""
    home = (
        Path(os.environ.get("RNNFLOW_BENCH_VENVS", Path.home() / ".cache" / "rnnflow-bench")) / name
    )
    pinned, done = PEERS / f"{name}.txt", home / "installed.txt"
    if not done.exists() or done.read_text() != pinned.read_text():
        print(f"installing {', '.join(pinned.read_text().split())} into {home}", flush=True)
        for command in (
            ["venv", str(home)],
            ["pip", "install", "--quiet", "--requirement", str(pinned)],
        ):
            python = sys.executable if command[0] == "venv" else home / "bin" / "python"
            run = subprocess.run([python, "-m", *command], capture_output=True, text=True)
            if run.returncode:
                print(f"{name} is left out: {run.stderr.strip().splitlines()[-1]}")
                return None
        done.write_text(pinned.read_text())
    return home / "bin" / "python"


def seconds(python: Path, name: str, with_kernel: bool, csv: Path) -> float:
    """Wall time of the process that runs a script of `peers`, on one core."""
    with confined(1, with_kernel):
        before = perf_counter()
        subprocess.run(
            [python, "-m", f"benchmarks.peers.{name}", csv],
            cwd=PEERS.parents[1],
            check=True,
            capture_output=True,
        )
        return perf_counter() - before
