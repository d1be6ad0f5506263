"""What the benchmarks share: contestants that take turns, each in a process of its own, and what is kept of it.

A contestant is a function that prepares a job; a job trains a `Variant` and returns the losses (m, epochs) of m of its
models. Rounds are interleaved, A B A B …, so that whatever else the machine does befalls all; a ratio is that of one
round, and what is reported is the median. Every contestant must show the same losses, or nothing is reported.
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
from rnn_core.studies.lesson import Variant

Job: TypeAlias = Callable[..., Any]
RESULTS = Path(__file__).with_name("results")
ROUNDS = 5  # after one that is not counted
SAME = {"float64": 1e-9, "float32": 1e-3}  # how far losses may be apart, in nats or squared units
FASTEST = {"avx512f": "AVX-512", "avx2": "AVX2"}


class Lap(NamedTuple):
    """What a job returned, and how long it took."""

    seconds: float
    result: Any


@dataclass(frozen=True)
class Row:
    """How many times as long another takes for the same.

    Attributes:
        case: what is done.
        against: who else does it.
        ratio: the other's time by ours.
        kernel: whether ours was computed by the compiled kernel, else by NumPy.
        median_us: our own microseconds a unit.
        unit: what is counted, of one model.
    """

    case: str
    against: str
    ratio: float
    kernel: bool
    median_us: float
    unit: str


def machine() -> dict[str, Any]:
    """What a time depends on: the processor and the versions."""
    said = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    processor = {name.strip(): value.strip() for name, value in said.items()}
    flags = processor.get("flags", "").split()
    return {
        "processor": processor.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "instructions": next((name for flag, name in FASTEST.items() if flag in flags), "neither AVX2 nor AVX-512"),
        "Python": platform.python_version(),
        **{package: version(package) for package in ("numpy", "torch")},
    }


def save(name: str, rows: list[Any]) -> None:
    """Keep the rows of a benchmark, beside the machine they were measured on."""
    RESULTS.mkdir(exist_ok=True)
    kept = {"machine": machine(), "rows": [asdict(row) for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")


def with_and_without() -> tuple[bool, ...]:
    """Whether the kernel computes, in the runs that are made."""
    return (True, False) if kernel.available() else (False,)


@contextmanager
def confined(cores: int, with_kernel: bool) -> Iterator[None]:
    """What is started meanwhile keeps to so many cores and threads, and has our kernel or has not."""
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
) -> Iterator[Callable[..., Lap]]:
    """A process that has prepared a job; what is yielded has it done there once more."""
    here, there = get_context("spawn").Pipe()
    with confined(cores, with_kernel):
        own = get_context("spawn").Process(target=_serve, args=(there, prepare, *args))
        own.start()
    there.close()

    def lap(*said: Any) -> Lap:
        here.send(said)
        return Lap(*here.recv())

    try:
        yield lap
    finally:
        here.close()
        own.join()


def _serve(connection: Connection, prepare: Callable[..., Job], *args: Any) -> None:
    tune_process()
    job = prepare(*args)
    while True:
        try:
            said = connection.recv()
        except EOFError:
            return
        before = perf_counter()
        result = job(*said)
        connection.send((perf_counter() - before, result))


def drawn(variant: Variant) -> Variant:
    """The variant with its initial parameters and shuffles drawn, so that every contestant has the same."""
    model, training, rows = variant.model, variant.training, variant.folds.train[0]
    rngs = [np.random.default_rng(m) for m in range(training.seeds)]
    sizes = variant.sequences.x.shape[-1], variant.sequences.y.shape[-1]
    order = [[rng.permutation(rows) for rng in rngs] for _ in range(training.epochs)]
    params0 = initial_params(model, *sizes, rngs, training.dtype)
    return replace(variant, params0=params0, order=np.array(order))


def shortened(variant: Variant, epochs: int) -> Variant:
    """The first `epochs` of a variant whose shuffles are drawn."""
    order = variant.order[:epochs] if variant.order is not None else None
    return replace(variant, training=replace(variant.training, epochs=epochs), order=order)


def rnnflow(variant: Variant) -> Job:
    """Ours: the whole of `rnn_core.nn.training.fit`."""

    def job() -> Array:
        model, training, order = variant.model, variant.training, variant.order
        fitted = fit(model, training, variant.sequences, variant.folds, params0=variant.params0, order=order)
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
    """Time `fit` and the others on one variant, a unit being so many `updates` of one model; prints each row.

    The kernel trains all epochs, so that the clock can see it, NumPy and the others the first `epochs` of them. The
    others may train fewer models.

    Raises:
        AssertionError: losses are not the same.
    """
    steps = -(-variant.folds.train.shape[1] // variant.training.batch_size)
    with ExitStack() as stack:
        start = partial(_start, stack, cores)
        short = shortened(variant, epochs)
        ours = {own: start(rnnflow, variant if own else short, own) for own in with_and_without()}
        others = {name: start(prepare, short, False) for name, prepare in against.items()}
        contestants: dict[Any, Callable[..., Lap]] = {**ours, **others}
        laps = [{who: lap() for who, lap in contestants.items()} for _ in range(rounds + 1)]
    for who, (_, losses) in laps[0].items():
        first = losses[:, :epochs]
        message = f"{case}: {who} does not train what NumPy trains"
        np.testing.assert_allclose(
            first, laps[0][False].result[: len(first)], rtol=0, atol=SAME[variant.training.dtype], err_msg=message
        )
    each = {
        who: [lap[who].seconds / lap[who].result.size / steps * updates * 1e6 for lap in laps[1:]]
        for who in contestants
    }
    return [row(case, name, each[own], each[name], own, unit) for name in others for own in ours]


def _start(
    stack: ExitStack, cores: int, prepare: Callable[[Variant], Job], variant: Variant, with_kernel: bool
) -> Callable[..., Lap]:
    return stack.enter_context(process(prepare, variant, with_kernel=with_kernel, cores=cores))


def row(case: str, against: str, ours: list[float], theirs: list[float], with_kernel: bool, unit: str) -> Row:
    """The row of the microseconds that a unit took in each round; prints it, with the range of the ratios."""
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    found = Row(case, against, median(ratios), with_kernel, median(ours), unit)
    name = "kernel" if with_kernel else "NumPy"
    spread = f"({min(ratios):.3g} to {max(ratios):.3g})"
    times = f"{found.median_us:.3g} µs by {name}, {median(theirs):.3g} µs"
    print(f"{found.ratio:7.3g} × {spread:18} {case}, {against}: {times} per {unit}", flush=True)
    return found
