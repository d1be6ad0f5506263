"""The NumPy engine with and without its kernel beside the torch engine: the same models, batches and updates."""

import os
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from rnn_core import engines
from rnn_core.config import Model, Training
from rnn_core.engines import Engine, Inputs, Targets, kernel
from rnn_core.network import initial_params

STEPS, ROUNDS = 10, 5
ENGINES = ("kernel", "numpy", "torch")
JOBS: dict[int, dict[str, Any]] = {1: {"optimiser": "sgd", "clip_value": 5.0, "clip_norm": None}, 32: {}}  # by batch


def started(name: str, models: int, rows: int, cell: str, dtype: str, options: dict[str, Any]) -> Engine:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, STEPS, 1)).astype(dtype)
    inputs = Inputs(x, np.zeros((models, 1), dtype), np.ones((models, 1), dtype))
    targets = Targets((x[:, -1:] > 0).astype(dtype), np.ones((rows, 1), bool))
    rngs = [np.random.default_rng(m) for m in range(models)]
    engine = "torch" if name == "torch" else "numpy"
    model = Model.model_validate({"cell": cell})
    training = Training.model_validate({"engine": engine, "dtype": dtype} | options)
    os.environ[kernel.SWITCH] = "1" if name == "kernel" else "0"
    return engines.start(model, training, inputs, targets, initial_params(model, 1, 1, rngs, dtype), rngs)


def seconds(engine: Engine, rows: np.ndarray) -> float:
    before = perf_counter()
    engine.train_epoch(rows, np.full(len(rows), 3e-3))
    return perf_counter() - before


def compare(models: int, batch: int, cell: str, dtype: str) -> str:
    """A line: medians of the microseconds that an update and model takes, and of the ratios, each of one round."""
    count = 64 if batch == 1 else 512  # rows
    rows = np.stack([np.random.default_rng(m).permutation(count) for m in range(models)]).reshape(models, -1, batch)
    every = [started(name, models, count, cell, dtype, JOBS[batch]) for name in ENGINES]
    repeats = max(1, 64 // models)  # an epoch of the kernel's is over before the clock has ticked
    kernels = np.tile(rows, (1, repeats, 1))
    rounds = []
    for _ in range(ROUNDS + 1):
        times = [seconds(engine, order) for engine, order in zip(every, (kernels, rows, rows), strict=True)]
        rounds.append((times[0] / repeats, *times[1:]))
    micros = [median(times) / rows.shape[1] / models * 1e6 for times in zip(*rounds[1:], strict=True)]
    ratios = [median(times[k] / times[0] for times in rounds[1:]) for k in (1, 2)]
    shown = "".join(f"{value:9.1f}" for value in (*micros, *ratios))
    return f"{models:6}{batch:6}  {cell:9}{dtype}{shown}"


def main() -> list[str]:
    print(f"hidden 16, T {STEPS}, batch 1 with SGD and batch 32 with Adam: µs an update and model, medians of {ROUNDS}")
    if not kernel.available():
        print("the kernel is not built: NumPy stands for it")
    print("models batch  cell     dtype     kernel    numpy    torch   numpy/k  torch/k")
    for models, batch, cells in ((1, 1, kernel.CELLS), (1, 32, kernel.CELLS), (64, 32, ("rnn_tanh",))):
        for cell in cells:
            for dtype in ("float64", "float32"):
                print(compare(models, batch, cell, dtype), flush=True)
    return []
