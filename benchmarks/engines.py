"""The NumPy engine beside the torch engine: one epoch of a stack, the same models, batches and updates."""

from statistics import median
from time import perf_counter

import numpy as np

from rnn_core import engines
from rnn_core.config import Model, Training
from rnn_core.engines import Engine, Inputs, Targets
from rnn_core.network import initial_params

ROWS, STEPS, BATCH, ROUNDS = 512, 10, 32, 5


def started(name: str, models: int, dtype: str) -> Engine:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, STEPS, 1)).astype(dtype)
    inputs = Inputs(x, np.zeros((models, 1), dtype), np.ones((models, 1), dtype))
    targets = Targets((x[:, -1:] > 0).astype(dtype), np.ones((ROWS, 1), bool))
    rngs = [np.random.default_rng(m) for m in range(models)]
    training = Training.model_validate({"engine": name, "dtype": dtype})
    return engines.start(Model(), training, inputs, targets, initial_params(Model(), 1, 1, rngs, dtype), rngs)


def seconds(engine: Engine, rows: np.ndarray) -> float:
    before = perf_counter()
    engine.train_epoch(rows, np.full(len(rows), 3e-3))
    return perf_counter() - before


def main() -> list[str]:
    print(f"tanh RNN, hidden 16, T {STEPS}, batch {BATCH}, Adam; one epoch of {ROWS} rows, medians of {ROUNDS} rounds")
    for models in (1, 8, 64, 256):
        for dtype in ("float64", "float32"):
            rows = np.stack([np.random.default_rng(m).permutation(ROWS) for m in range(models)])
            rows = rows.reshape(models, -1, BATCH)
            pair = [started(name, models, dtype) for name in ("numpy", "torch")]
            rounds = [[seconds(engine, rows) for engine in pair] for _ in range(ROUNDS + 1)][1:]  # the first warms up
            ratio = median(torch / numpy for numpy, torch in rounds)
            update = median(numpy for numpy, _ in rounds) / rows.shape[1] / models * 1e6
            print(f"{models:4} models {dtype}: torch / numpy {ratio:5.2f}; numpy {update:6.1f} µs an update and model")
    return []
