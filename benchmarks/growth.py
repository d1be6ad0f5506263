"""How the time and the memory of `fit` grow with the number of windows, their length and the number of models.

Time: hidden 16, batch 32, one epoch, one core, each size over two decades; the exponent is the slope of log time on
log size, 1 where the time is proportional. What is fixed in a call lowers it. Memory: how far the peak of a process
that fits a stack is above what it held with its data made and one model fitted; T 50 and batch 256, so that the
activations of all models at once would be far more than those of a chunk.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.rounds import Job, process, save, with_and_without
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
MOST = 1.05  # the exponent may be
ROUNDS = 3


@dataclass(frozen=True)
class Growth:
    """Time or memory by size.

    Attributes:
        case: what grows.
        kernel: whether the compiled kernel computed, else NumPy.
        sizes: how many of it.
        median: microseconds or MiB of each size.
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
    found = [growth(case, own) for case in SIZES for own in with_and_without()]
    found += [memory(own) for own in with_and_without()]
    save("growth", found)
    steep = [one for one in found if one.exponent is not None and one.exponent > MOST]
    return [
        f"time grows with {one.case} to the power {one.exponent:.2f}, at most {MOST} is asked"
        for one in steep
    ]


def growth(case: str, with_kernel: bool) -> Growth:
    """The time of one epoch by size, measured from small to large in every round."""
    with process(trained, with_kernel=with_kernel) as lap:
        laps = [[lap(case, size).seconds * 1e6 for size in SIZES[case]] for _ in range(ROUNDS + 1)]
    times = tuple(median(own) for own in zip(*laps[1:], strict=True))  # the first makes the data
    exponent = float(np.polyfit(np.log(SIZES[case]), np.log(times), 1)[0])
    print(f"{case:8} {named(with_kernel):7} time grows with the power {exponent:.2f}", flush=True)
    return Growth(case, with_kernel, SIZES[case], times, "µs", exponent)


def memory(with_kernel: bool) -> Growth:
    """The peak by the number of models, each in a process of its own."""
    peaks = []
    for models in STACKS:
        with process(beyond_data, models, with_kernel=with_kernel) as lap:
            peaks.append(lap().result / 2**20)
    shown = ", ".join(
        f"{models} models {peak:.0f} MiB" for models, peak in zip(STACKS, peaks, strict=True)
    )
    print(f"memory   {named(with_kernel):7} {shown}", flush=True)
    return Growth("memory", with_kernel, STACKS, tuple(peaks), "MiB")


def named(with_kernel: bool) -> str:
    return "kernel" if with_kernel else "NumPy"


def trained() -> Job:
    return lambda case, size: fit(*prepared(**DEFAULTS | {case: size}))


def beyond_data(models: int) -> Job:
    """Bytes that the fit of so many models holds at most, beyond what one model held."""
    fit(*prepared(**DEFAULTS | LARGE))
    stack = prepared(**DEFAULTS | LARGE | {"models": models})

    def job() -> int:
        before = peak()
        fit(*stack)
        return peak() - before

    return job


@cache
def prepared(windows: int, steps: int, models: int, batch: int) -> tuple[Any, ...]:
    """What `fit` takes for one epoch."""
    x = np.random.default_rng(0).normal(size=(windows, steps, 1))
    sequences = Sequences(x, (x[:, -1:] > 0).astype(float), np.ones((windows, 1), bool), raw=True)
    return (
        Model(),
        Training(epochs=1, batch_size=batch, seeds=models, patience=None),
        sequences,
        holdout(windows, 0, 0),
    )


def peak() -> int:
    """Bytes that this program has held at most; getrusage would count those of the process that started it, too."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return int(line.split()[1]) * 1024
