"""Shared by the benchmarks: contestants that take turns, each in its own process, and saved rows.

A contestant is a function that prepares a job; a job trains a `Variant` and returns the losses
(m, epochs) of m of its models. Rounds are interleaved, A B A B …, so that whatever else the machine
does affects all. A ratio is that of one round, and the median is reported. Every contestant must
show the same losses, or nothing is reported.
"""

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias
from unittest.mock import patch

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.nn.engines import kernel
from rnn_core.nn.memory import tune_process
from rnn_core.nn.network import initial_params
from rnn_core.nn.training import fit
from rnn_core.studies.study import Variant

Job: TypeAlias = Callable[..., Any]
Turn: TypeAlias = Callable[..., "Lap"]
"""Has a job done once more, in the process that prepared it."""

RESULTS = Path(__file__).with_name("results")
ROUNDS = 5  # after one that is not counted
SAME = {"float64": 1e-9, "float32": 1e-3}  # how far losses may be apart, in nats or squared units
FASTEST = {"avx512f": "AVX-512", "avx2": "AVX2"}


class Lap(NamedTuple):
    """The result of a job, and how long it took."""

    seconds: float
    result: Any


@dataclass(frozen=True)
class Row:
    """How many times as long another takes for the same work.

    Attributes:
        case: the work.
        against: the other.
        ratio: the other's time by ours.
        kernel: True if the compiled kernel computed ours, False if NumPy did.
        median_us: our microseconds a unit.
        unit: what is counted, of one model.
    """

    case: str
    against: str
    ratio: float
    kernel: bool
    median_us: float
    unit: str


def machine() -> dict[str, Any]:
    """Return what a time depends on: the processor and the versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    processor = {name.strip(): value.strip() for name, value in pairs}
    flags = processor.get("flags", "").split()
    fastest = [name for flag, name in FASTEST.items() if flag in flags]
    return {
        "processor": processor.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "instructions": fastest[0] if fastest else "neither AVX2 nor AVX-512",
        "Python": platform.python_version(),
        **{package: version(package) for package in ("numpy", "torch")},
    }


def save(name: str, rows: list[Any]) -> None:
    """Write the rows of a benchmark, with the machine they were measured on."""
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": machine(), "rows": [asdict(row) for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def with_and_without() -> tuple[bool, ...]:
    """Return whether the kernel computes, for each of the runs to make."""
    return (True, False) if kernel.available() else (False,)


def engine_name(with_kernel: bool) -> str:
    return "kernel" if with_kernel else "NumPy"


@contextmanager
def confined(cores: int, with_kernel: bool) -> Iterator[None]:
    """Confine processes started meanwhile to so many cores and threads, with our kernel or not."""
    every = os.sched_getaffinity(0)
    threads = {f"{library}_NUM_THREADS": str(cores) for library in ("OMP", "OPENBLAS", "MKL")}
    os.sched_setaffinity(0, sorted(every)[-cores:])
    try:
        with patch.dict(os.environ, threads | {kernel.SWITCH: str(int(with_kernel))}):
            yield
    finally:
        os.sched_setaffinity(0, every)


@contextmanager
def process(
    prepare: Callable[..., Job], *args: Any, with_kernel: bool = False, cores: int = 1
) -> Iterator[Turn]:
    """Start a process that prepares a job; yield a function that has the job done there once."""
    here, there = get_context("spawn").Pipe()
    with confined(cores, with_kernel):
        worker = get_context("spawn").Process(target=_serve, args=(there, prepare, *args))
        worker.start()
    there.close()

    def lap(*job_args: Any) -> Lap:
        here.send(job_args)
        return Lap(*here.recv())

    try:
        yield lap
    finally:
        here.close()
        worker.join()


def _serve(connection: Connection, prepare: Callable[..., Job], *args: Any) -> None:
    tune_process()
    job = prepare(*args)
    while True:
        try:
            job_args = connection.recv()
        except EOFError:
            return
        before = perf_counter()
        result = job(*job_args)
        connection.send((perf_counter() - before, result))


def drawn(variant: Variant) -> Variant:
    """Draw the variant's initial parameters and shuffles, so that every contestant has the same."""
    training = variant.training
    rows = variant.folds.train[0]
    rngs = [np.random.default_rng(m) for m in range(training.seeds)]
    input_size = variant.sequences.x.shape[-1]
    output_size = variant.sequences.y.shape[-1]
    order = [[rng.permutation(rows) for rng in rngs] for _ in range(training.epochs)]
    params0 = initial_params(variant.model, input_size, output_size, rngs, training.dtype)
    return replace(variant, params0=params0, order=np.array(order))


def shortened(variant: Variant, epochs: int) -> Variant:
    """Return the first `epochs` of a variant whose shuffles are drawn."""
    order = variant.order[:epochs] if variant.order is not None else None
    return replace(variant, training=replace(variant.training, epochs=epochs), order=order)


def rnnflow(variant: Variant) -> Job:
    """Ours: the whole of `rnn_core.nn.training.fit`."""

    def job() -> Array:
        fitted = fit(
            variant.model,
            variant.training,
            variant.sequences,
            variant.folds,
            params0=variant.params0,
            order=variant.order,
        )
        if fitted.kernel != kernel.available():
            raise RuntimeError("the kernel does not cover what it is measured at")
        return fitted.train_loss

    return job


def compare(
    case: str,
    variant: Variant,
    against: Mapping[str, Callable[[Variant], Job]],
    *,
    epochs: int,
    unit: str = "update",
    updates: int = 1,
    cores: int = 1,
    rounds: int = ROUNDS,
) -> list[Row]:
    """Time `fit` and the others on one variant; print and return a row for each.

    The kernel trains all epochs, so that the clock can see it, NumPy and the others the first
    `epochs` of them. The others may train fewer models.

    Args:
        case: the work, in words.
        variant: with initial parameters and shuffles.
        against: the others by name.
        epochs: of NumPy and the others.
        unit: what is counted.
        updates: of one model in a unit.
        cores: for each contestant.
        rounds: after one that is not counted.

    Raises:
        AssertionError: losses are not the same.
    """
    short = shortened(variant, epochs)
    with ExitStack() as stack:
        start = partial(_start, stack, cores)
        ours = {
            with_kernel: start(rnnflow, variant if with_kernel else short, with_kernel)
            for with_kernel in with_and_without()
        }
        others = {name: start(prepare, short, False) for name, prepare in against.items()}
        contestants: dict[Any, Turn] = {**ours, **others}
        laps = [{who: lap() for who, lap in contestants.items()} for _ in range(rounds + 1)]
    _check_same_losses(case, laps[0], epochs, SAME[variant.training.dtype])
    steps = -(-variant.folds.train.shape[1] // variant.training.batch_size)
    micros = {who: [_micros(lap[who], steps, updates) for lap in laps[1:]] for who in contestants}
    return [
        row(case, name, micros[with_kernel], micros[name], with_kernel, unit)
        for name in others
        for with_kernel in ours
    ]


def _start(
    stack: ExitStack,
    cores: int,
    prepare: Callable[[Variant], Job],
    variant: Variant,
    with_kernel: bool,
) -> Turn:
    return stack.enter_context(process(prepare, variant, with_kernel=with_kernel, cores=cores))


def _check_same_losses(case: str, laps: Mapping[Any, Lap], epochs: int, tolerance: float) -> None:
    """Compare each contestant's losses with NumPy's, as many models and epochs as both have."""
    numpy_losses = laps[False].result
    for who, (_, losses) in laps.items():
        np.testing.assert_allclose(
            losses[:, :epochs],
            numpy_losses[: len(losses)],
            rtol=0,
            atol=tolerance,
            err_msg=f"{case}: {who} does not train what NumPy trains",
        )


def _micros(lap: Lap, steps: int, updates: int) -> float:
    """Return the microseconds a unit of `updates`, from losses (m, epochs) of so many steps."""
    return lap.seconds / lap.result.size / steps * updates * 1e6


def row(
    case: str, against: str, ours: list[float], theirs: list[float], with_kernel: bool, unit: str
) -> Row:
    """Print and return the row of the microseconds a unit in each round.

    The line shows the range of the ratios, too.
    """
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    measured = Row(case, against, median(ratios), with_kernel, median(ours), unit)
    spread = f"({min(ratios):.3g} to {max(ratios):.3g})"
    our_time = f"{measured.median_us:.3g} µs by {engine_name(with_kernel)}"
    their_time = f"{median(theirs):.3g} µs"
    print(
        f"{measured.ratio:7.3g} × {spread:18} "
        f"{case}, {against}: {our_time}, {their_time} per {unit}",
        flush=True,
    )
    return measured
