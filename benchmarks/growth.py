"""How the time and the memory of `fit` grow with the windows, their length and the models.

Time: hidden 16, batch 32, one epoch, one core, each size over two decades. The exponent is the
slope of log time on log size, 1 if the time is proportional; the fixed part of a call lowers it.
Memory: how far the peak of a process that fits a stack is above its peak with the data made and one
model fitted; T 50 and batch 256, so that the activations of all models at once would be far more
than those of a chunk.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.rounds import Job, engine_name, process, save, with_and_without
from rnn_core.config import Model, Training
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.nn.training import fit

DEFAULTS = {"windows": 512, "steps": 10, "models": 1, "batch": 32}
SIZES = {
    "windows": (320, 1_000, 3_200, 10_000, 32_000),
    "steps": (10, 32, 100, 320, 1_000),
    "models": (4, 13, 40, 130, 400),
}
LARGE = {"steps": 50, "batch": 256}
STACKS = (1, 8, 32, 128, 512)  # models
STEEPEST = 1.05  # bound of the exponent
ROUNDS = 3


@dataclass(frozen=True)
class Growth:
    """Time or memory by size.

    Attributes:
        case: what grows.
        kernel: True if the compiled kernel computed, False if NumPy did.
        sizes: how many of it.
        median: microseconds or MiB at each size.
        unit: which of the two.
        exponent: of time, the slope on logarithmic scales.
    """

    case: str
    kernel: bool
    sizes: tuple[int, ...]
    median: tuple[float, ...]
    unit: str
    exponent: float | None = None


def main() -> list[str]:
    times = [growth(case, with_kernel) for case in SIZES for with_kernel in with_and_without()]
    peaks = [memory(with_kernel) for with_kernel in with_and_without()]
    save("growth", times + peaks)
    return [
        f"time grows with {row.case} to the power {row.exponent:.2f}, at most {STEEPEST} is asked"
        for row in times
        if row.exponent is not None and row.exponent > STEEPEST
    ]


def growth(case: str, with_kernel: bool) -> Growth:
    """Measure the time of one epoch by size, from small to large in every round."""
    sizes = SIZES[case]
    with process(trained, with_kernel=with_kernel) as lap:
        laps = [[lap(case, size).seconds * 1e6 for size in sizes] for _ in range(ROUNDS + 1)]
    counted = laps[1:]  # the first round makes the data
    times = tuple(median(of_size) for of_size in zip(*counted, strict=True))
    exponent = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    engine = engine_name(with_kernel)
    print(f"{case:8} {engine:7} time grows with the power {exponent:.2f}", flush=True)
    return Growth(case, with_kernel, sizes, times, "µs", exponent)


def memory(with_kernel: bool) -> Growth:
    """Measure the peak by the number of models, each in a process of its own."""
    peaks = []
    for models in STACKS:
        with process(beyond_data, models, with_kernel=with_kernel) as lap:
            peaks.append(lap().result / 2**20)
    pairs = zip(STACKS, peaks, strict=True)
    shown = ", ".join(f"{models} models {peak:.0f} MiB" for models, peak in pairs)
    print(f"memory   {engine_name(with_kernel):7} {shown}", flush=True)
    return Growth("memory", with_kernel, STACKS, tuple(peaks), "MiB")


def trained() -> Job:
    return lambda case, size: fit(*prepared(**DEFAULTS | {case: size}))


def beyond_data(models: int) -> Job:
    """Return the bytes that a fit of so many models adds to the peak of a fit of one."""
    fit(*prepared(**DEFAULTS | LARGE))
    stack = prepared(**DEFAULTS | LARGE | {"models": models})

    def job() -> int:
        before = peak()
        fit(*stack)
        return peak() - before

    return job


@cache
def prepared(windows: int, steps: int, models: int, batch: int) -> tuple[Any, ...]:
    """Return the arguments of `fit` for one epoch."""
    x = np.random.default_rng(0).normal(size=(windows, steps, 1))
    y = (x[:, -1:] > 0).astype(float)
    sequences = Sequences(x, y, np.ones((windows, 1), bool), raw=True)
    training = Training(epochs=1, batch_size=batch, seeds=models, patience=None)
    return Model(), training, sequences, holdout(windows, 0, 0)


def peak() -> int:
    """Return the most bytes that this program has held.

    getrusage would count those of the process that started it, too.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
