"""Small stacks of any size and kind, to train in C and in NumPy.

As a program, `python stacks.py LIBRARY`, it trains all of them with that build of the kernel, for
the sanitizers.
"""

import sys
from itertools import product
from typing import Any

import numpy as np
from pydantic import BaseModel

from rnn_core.config import Model, Training
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.engines import Engine, Inputs, Targets, kernel
from rnn_core.nn.engines.numpy_engine import NumpyEngine
from rnn_core.nn.network import initial_params

DEFAULTS: dict[str, Any] = {
    **{
        "models": 3,
        "windows": 23,
        "seq_len": 6,
        "input_size": 2,
        "hidden_size": 5,
        "output_size": 2,
        "batch": 5,
    },
    **{
        "cell": "rnn_tanh",
        "loss": "binary_cross_entropy",
        "optimiser": "sgd",
        "learning_rate": 3e-3,
    },
    **{"clip_norm": None, "dtype": "float64", "pick": None},
}
CELLS = ("rnn_tanh", "gru", "lstm")
EVERY_CELL = (*CELLS, "rnn_relu", "rnn_sigmoid", "rnn_prelu")
LOSSES: dict[str, dict[str, Any]] = {
    "binary": {},
    "binary, weighted": {"class_weights": (0.3, 2.0)},
    "textbook": {"loss": "textbook_cross_entropy", "class_weights": (0.3, 2.0)},
    "brier": {"loss": "brier", "class_weights": (0.3, 2.0)},
    "softmax": {"loss": "cross_entropy"},
    "softmax, weighted": {"loss": "cross_entropy", "class_weights": (0.3, 2.0)},
    "squared error": {"loss": "mean_squared_error"},
}
RULES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "decay": {"weight_decay": 0.1, "momentum": 0.5},
    "adam": {"optimiser": "adam"},
    "adam with decay": {"optimiser": "adam", "weight_decay": 0.1},
    "adamw": {"optimiser": "adamw", "weight_decay": 0.1},
    "clipped by value": {"clip_value": 0.02},
    "clipped by norm": {"clip_norm": 0.05},
    "clipped by both": {
        "clip_norm": 0.05,
        "clip_value": 0.02,
        "optimiser": "adam",
        "weight_decay": 0.1,
    },
}
SIZES: dict[str, dict[str, Any]] = {
    "ones": {
        "seq_len": 1,
        "input_size": 1,
        "hidden_size": 1,
        "output_size": 1,
        "batch": 1,
        "models": 1,
    },
    "as the daily job": {
        "seq_len": 10,
        "hidden_size": 16,
        "output_size": 1,
        "batch": 32,
        "windows": 70,
    },
    "one lane too many": {"hidden_size": 17, "input_size": 9, "output_size": 5, "batch": 11},
    "many pieces": {"batch": 75, "windows": 90, "hidden_size": 8, "output_size": 3},
    "small pieces of long windows": {"seq_len": 100, "batch": 9, "windows": 9, "hidden_size": 80},
    "wide": {"hidden_size": 64, "input_size": 3, "batch": 2},
}
OTHERS: dict[str, dict[str, Any]] = {
    "no biases": {"bias": False},
    "every step": {"readout": "steps"},
    "every step of a softmax, no biases": {
        "readout": "steps",
        "bias": False,
        "loss": "cross_entropy",
        "batch": 40,
    },
}
CASES = LOSSES | RULES | SIZES | OTHERS
LAYERS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "two layers": {"num_layers": 2},
    "both directions": {"bidirectional": True},
    "three layers of both, no biases": {"num_layers": 3, "bidirectional": True, "bias": False},
    "wide layers, a piece of one row": {
        "num_layers": 2,
        "hidden_size": 35,
        "seq_len": 50,
        "batch": 3,
        "bidirectional": True,
    },
    "a tanh head": {"head": "tanh", "hidden_size": 17},
    "a tanh head over every step of both": {
        "head": "tanh",
        "readout": "steps",
        "bidirectional": True,
    },
    "truncated": {"truncate": 2},
    "two layers, truncated": {"num_layers": 2, "truncate": 4, "readout": "steps"},
    "dropout": {"num_layers": 2, "dropout": 0.3, "batch": 40, "windows": 60},
    "dropout of both": {"num_layers": 3, "dropout": 0.5, "bidirectional": True, "head": "tanh"},
    "dropout, truncated": {"num_layers": 3, "dropout": 0.5, "truncate": 4},
    "lengths": {"lengths": True},
    "lengths of both": {"lengths": True, "bidirectional": True, "num_layers": 2},
    "lengths of every step": {
        "lengths": True,
        "readout": "steps",
        "bidirectional": True,
        "num_layers": 2,
        "dropout": 0.2,
    },
    "lengths, truncated": {"lengths": True, "truncate": 2, "num_layers": 2},
}


def started(**options: Any) -> NumpyEngine:
    """Make an engine over all of the models or those of `pick`.

    `options` are of the sizes, the model and the training.
    """
    given = DEFAULTS | options
    everyone = range(given["models"])
    model = Model(**{name: given[name] for name in Model.__dataclass_fields__ if name in given})
    training = Training(
        **{name: given[name] for name in Training.__dataclass_fields__ if name in given}
    )
    inputs, targets = sequences(given)
    rngs = [np.random.default_rng([7, m]) for m in everyone]
    params = initial_params(model, given["input_size"], given["output_size"], rngs, training.dtype)
    pick = list(everyone) if given["pick"] is None else given["pick"]
    chosen: Params = {name: value[pick] for name, value in params.items()}
    own = [rngs[m] for m in pick]
    return NumpyEngine(model, training, inputs.of(np.array(pick)), targets, chosen, own)


def sequences(given: dict[str, Any]) -> tuple[Inputs, Targets]:
    """Make windows of noise; four in five steps are scored, the other targets are NaN.

    So is all that lies beyond the lengths, if there are some.
    """
    rng = np.random.default_rng(2)
    dtype, shape = given["dtype"], (given["windows"], given["seq_len"], given["input_size"])
    steps = given["seq_len"] if given.get("readout") == "steps" else 1
    y = rng.random((given["windows"], steps, given["output_size"]))
    if given["loss"] == "cross_entropy":
        y /= y.sum(axis=-1, keepdims=True)
    mask = rng.random(y.shape[:2]) < 0.8
    y[~mask] = np.nan
    weights = None if given.get("class_weights") is None else np.array(given["class_weights"])
    center, scale = rng.normal(size=(2, given["models"], given["input_size"]))
    x = rng.normal(size=shape).astype(dtype)
    lengths = rng.integers(1, given["seq_len"] + 1, len(x)) if given.get("lengths") else None
    if lengths is not None:
        x[np.arange(given["seq_len"]) >= lengths[:, None]] = np.nan
    inputs = Inputs(x, center.astype(dtype), (2 + np.abs(scale)).astype(dtype), lengths)
    return inputs, Targets(y.astype(dtype), mask, given["loss"], weights)


def batches(epochs: int, steps: int, **options: Any) -> Array:
    """Draw rows (epochs, M, steps, batch), one in ten padding.

    All of the last model's second step is padding.
    """
    given = DEFAULTS | options
    rng = np.random.default_rng(3)
    rows = rng.integers(0, given["windows"], (epochs, given["models"], steps, given["batch"]))
    rows[rng.random(rows.shape) < 0.1] = -1
    rows[:, -1, 1] = -1
    return rows if given["pick"] is None else rows[:, given["pick"]]


def train(engine: Engine, rows: Array, rate: float = 3e-3) -> Array:
    """Train on `rows` (epochs, M, steps, batch), each model at its own rate: losses (epochs, M)."""
    rates = rate * np.linspace(1, 2, rows.shape[1])
    return engine.train(rows.swapaxes(0, 1), np.tile(rates[:, None], len(rows))).T


def train_epoch(engine: Engine, rows: Array, rate: Array) -> Array:
    """Losses (M,) of one epoch on `rows` (M, steps, batch) at `rate` (M,)."""
    return engine.train(rows[:, None], rate[:, None])[:, 0]


def validate(engine: NumpyEngine, **options: Any) -> Array:
    """Losses (M,) over all windows and some padding."""
    given = DEFAULTS | options
    rows = np.append(np.arange(given["windows"]), [-1, -1])
    return engine.loss(np.tile(rows, (len(engine.frozen), 1)))


def flat(params: BaseModel | Params) -> Array:
    """All parameters in one row (M, P)."""
    return np.concatenate(
        [value.reshape(len(value), -1) for value in dict(params).values()], axis=1
    )


def main(path: str) -> None:
    build = kernel.load(path)
    assert build is not None
    kernel.library = lambda: build  # type: ignore[assignment]
    nets = [*product(CELLS, CASES.values()), *product(EVERY_CELL, LAYERS.values())]
    every = product(nets, ("float64", "float32"), range(build.kernel_instruction_sets()))
    for (cell, case), dtype, instruction_set in every:
        options = case | {"cell": cell, "dtype": dtype}
        engine = started(**options)
        assert engine._kernel is not None
        engine._kernel._settings["instruction_set"] = instruction_set
        # Two updates: the second finds state, and the last model without rows
        train_epoch(engine, batches(1, 2, **options)[0], np.full(len(engine.frozen), 3e-3))
        validate(engine, **options)
    sys.stdout.write("all were trained")


if __name__ == "__main__":
    main(sys.argv[1])
