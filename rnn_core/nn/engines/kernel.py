"""The compiled kernel of the NumPy engine: the same arithmetic in C, many times faster, where it covers what is asked.

`kernel.c` is compiled when the package is installed. Without a C compiler the installation succeeds without it, and the
engine computes in NumPy: `available()` says which; `RNNFLOW_KERNEL=0` in the environment turns the kernel off.

It covers rnn_tanh, gru and lstm of one layer in one direction, with or without biases, under a linear head that reads
the last state or every step; all losses with masks and class weights; all rules, clips and learning rates; float32 and
float64; any sizes. NumPy computes what it does not cover: other cells, several layers (so dropout), both directions, a
tanh head, windows of different lengths, truncation, and arrays of several types.

After 100 updates the parameters are those of NumPy to 1e-12 of the largest in float64, to 1e-4 in float32. A model's
bits depend neither on the number of threads nor on what stands beside it.
"""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from rnn_core.errors import ArrayError, ConfigError
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.engines import Inputs, Targets, thread_count
from rnn_core.nn.losses import class_count
from rnn_core.nn.network import param_shapes
from rnn_core.nn.optim import Rule, State
from rnn_core.nn.settings import Model, Training

SWITCH = "RNNFLOW_KERNEL"
LIBRARY = "rnn_core.nn.engines._kernel"

# The codes of the enumerations in kernel.c. A name that is not here is left to NumPy.
CELL_CODES = {"rnn_tanh": 1, "gru": 2, "lstm": 3}
LOSS_CODES = {
    "binary_cross_entropy": 1,
    "textbook_cross_entropy": 2,
    "brier": 3,
    "cross_entropy": 4,
    "mean_squared_error": 5,
}
RULE_CODES = {"sgd": 1, "adam": 2, "adamw": 3}
NO_MEMORY = -1
UNKNOWN_CODE = -2

INTEGERS = (
    *("instruction_set", "single_precision", "cell", "bias", "every_step", "loss", "rule"),
    *("seq_len", "input_size", "hidden_size", "output_size", "param_count"),
    *("models", "epochs", "steps", "batch", "updates"),
)
NUMBERS = ("momentum", "weight_decay", "beta1", "beta2", "eps", "clip_norm", "clip_value")
POINTERS = (
    *("x", "center", "scale", "y", "mask", "class_weights", "chosen", "rows", "rate"),
    *("params", "first", "second", "step", "frozen", "losses"),
)
FIELDS = {"velocity": "first"}  # where a rule's memory stands, if not under its own name


class Task(ctypes.Structure):
    """What a call is told, field by field the Task of kernel.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in INTEGERS),
        *((name, ctypes.c_double) for name in NUMBERS),
        *((name, ctypes.c_void_p) for name in POINTERS),
    )


def load(path: str) -> ctypes.CDLL | None:
    """The library at `path`; None if it cannot be loaded here or was built from another kernel.c."""
    try:
        found = ctypes.CDLL(path)
    except OSError:
        return None
    found.kernel_task_size.restype = found.kernel_instruction_sets.restype = ctypes.c_int64
    found.kernel_train.argtypes = found.kernel_loss.argtypes = (ctypes.POINTER(Task),)
    found.kernel_tanh.argtypes = (ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    return found if found.kernel_task_size() == ctypes.sizeof(Task) else None


@cache
def library() -> ctypes.CDLL | None:
    """The library that the installation built beside this file, None if it could not."""
    built = find_spec(LIBRARY)
    return None if built is None or built.origin is None else load(built.origin)


def available() -> bool:
    """Whether the kernel is built and not turned off."""
    return os.environ.get(SWITCH) != "0" and library() is not None


def uncovered(model: Model, training: Training, inputs: Inputs, targets: Targets, params: Params) -> str | None:
    """Why this is not for the kernel; None if it is, be the kernel there or not."""
    arrays = (inputs.x, inputs.center, inputs.scale, targets.y, *params.values())
    reasons = {
        f"cell {model.cell}": model.cell not in CELL_CODES,
        f"loss {targets.loss}": targets.loss not in LOSS_CODES,
        f"rule {training.optimiser}": training.optimiser not in RULE_CODES,
        f"{model.num_layers} layers": model.num_layers > 1,
        "both directions": model.bidirectional,
        f"head {model.head}": model.head != "linear",
        "windows of different lengths": inputs.lengths is not None,
        "truncation": training.truncate is not None,
        "arrays of several types": {array.dtype for array in arrays} != {np.dtype(training.dtype)},
    }
    for reason, applies in reasons.items():
        if applies:
            return reason
    return None if _fit(model, inputs, targets, params) else "shapes that do not fit"  # NumPy's checks say how


def _fit(model: Model, inputs: Inputs, targets: Targets, params: Params) -> bool:
    """Whether the kernel may trust the sizes of all that it is given pointers to."""
    if inputs.x.ndim != 3 or 0 in inputs.x.shape or targets.y.ndim != 3:
        return False
    models = len(next(iter(params.values())))
    rows, seq_len, input_size = inputs.x.shape
    steps, outputs = seq_len if model.readout == "steps" else 1, targets.y.shape[2]
    expected = [(name, (models, *shape)) for name, shape in param_shapes(model, input_size, outputs).items()]
    classes = class_count(targets.loss, outputs)
    return (
        [(name, value.shape) for name, value in params.items()] == expected
        and inputs.center.shape == inputs.scale.shape == (models, input_size)
        and targets.y.shape == (rows, steps, outputs)
        and targets.mask.shape == (rows, steps)
        and (targets.class_weights is None or targets.class_weights.shape == (classes,))
    )


class Kernel:
    """The kernel on the windows of one stack; the parameters and all that training changes stay with the engine."""

    def __init__(self, model: Model, rule: Rule, inputs: Inputs, targets: Targets) -> None:
        found: Any = library()
        self._library, dtype = found, inputs.x.dtype
        shapes = param_shapes(model, inputs.x.shape[2], targets.y.shape[2]).values()
        self._shape = len(inputs.center), sum(int(np.prod(shape)) for shape in shapes)
        weights = np.ones(max(2, targets.y.shape[2])) if targets.class_weights is None else targets.class_weights
        self._arrays = {  # kept, as the kernel is given their addresses alone
            "x": np.ascontiguousarray(inputs.x),
            "center": np.ascontiguousarray(inputs.center),
            "scale": np.ascontiguousarray(inputs.scale),
            "y": np.ascontiguousarray(targets.y),
            "mask": np.ascontiguousarray(targets.mask, bool),
            "class_weights": np.ascontiguousarray(weights, dtype),
        }
        self._settings = _addresses(self._arrays) | {
            "instruction_set": found.kernel_instruction_sets() - 1,  # the fastest
            "single_precision": dtype == np.float32,
            "cell": CELL_CODES[model.cell],
            "bias": model.bias,
            "every_step": model.readout == "steps",
            "loss": LOSS_CODES[targets.loss],
            "rule": RULE_CODES[rule.name],
            "seq_len": inputs.x.shape[1],
            "input_size": inputs.x.shape[2],
            "hidden_size": model.hidden_size,
            "output_size": targets.y.shape[2],
            "param_count": self._shape[1],
            "momentum": rule.momentum,
            "weight_decay": rule.weight_decay,
            "beta1": rule.betas[0],
            "beta2": rule.betas[1],
            "eps": rule.eps,
            "clip_norm": np.inf if rule.clip_norm is None else rule.clip_norm,
            "clip_value": np.inf if rule.clip_value is None else rule.clip_value,
        }

    def train(self, rows: Array, rate: Array, flat: Array, memory: State, frozen: Array, updates: int) -> Array:
        """Epochs over `rows` (M, E, steps, B) at `rate` (M, E); returns the mean losses (M, E), NaN without rows.

        The parameters `flat` (M, P), the rule's `memory` and `frozen` (M,) are changed in place; `updates` were made
        before.
        """
        changing = {"params": flat, "frozen": frozen} | memory
        rate = np.ascontiguousarray(np.broadcast_to(rate, rows.shape[:2]), np.float64)
        return self._run(self._library.kernel_train, rows, changing, updates, rate=rate)

    def loss(self, rows: Array, flat: Array) -> Array:
        """Mean loss of each model (M,) over its `rows` (M, v), with the parameters `flat` (M, P); NaN without rows."""
        return self._run(self._library.kernel_loss, rows[:, None, None], {"params": flat})[:, 0]

    def _run(self, function: Any, rows: Array, changing: dict[str, Array], updates: int = 0, **arrays: Array) -> Array:
        """The losses (M, E) that `function` finds; each thread takes a share of the models that have rows.

        Raises:
            ConfigError: the library does not know the cell, the loss or the rule.
            ArrayError: rows, parameters or a state of another shape or type than the stack and the windows ask for.
            IndexError: a row beyond the windows.
            MemoryError: there is no memory for the activations of one batch.
        """
        windows, losses = len(self._arrays["x"]), np.full(rows.shape[:2], np.nan)
        if len(rows) != self._shape[0]:
            raise ArrayError(f"rows for {len(rows)} models; the stack has {self._shape[0]}")
        if rows.max(initial=-1) >= windows:
            raise IndexError(f"row {rows.max()} is asked for; there are {windows}")
        arrays |= {FIELDS.get(name, name): self._checked(name, value) for name, value in changing.items()}
        arrays |= {"rows": np.ascontiguousarray(rows, np.int64), "losses": losses}
        asked = (
            self._settings | _addresses(arrays) | dict(zip(("epochs", "steps", "batch"), rows.shape[1:], strict=True))
        )

        def run(share: Array) -> None:
            outcome = function(Task(models=len(share), chosen=share.ctypes.data, updates=updates, **asked))
            if outcome == NO_MEMORY:
                raise MemoryError(f"no memory for the activations of {rows.shape[-1]} windows of a batch")
            if outcome == UNKNOWN_CODE:
                raise ConfigError("the kernel was built from another kernel.c; install the package again")

        _on_threads(run, np.flatnonzero((rows >= 0).any(axis=(1, 2, 3))))
        return losses

    def _checked(self, name: str, array: Array) -> Array:
        """`array`, if C may work in it."""
        dtypes = {"step": np.dtype(np.float64), "frozen": np.dtype(np.int64)}
        shape, dtype = self._shape[:1] if name in dtypes else self._shape, dtypes.get(name, self._arrays["x"].dtype)
        if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
            received = f"{array.dtype} array of shape {array.shape}"
            raise ArrayError(f"{name} is a {received}; {dtype} of shape {shape} is expected")
        return array


def _addresses(arrays: dict[str, Array]) -> dict[str, int]:
    return {name: value.ctypes.data for name, value in arrays.items()}


def _on_threads(run: Callable[[Array], None], models: Array) -> None:
    """`run` on a share of the `models` for each thread, if these are two or more."""
    count = min(len(models), thread_count())
    if count < 2:
        run(models)
        return
    from concurrent.futures import ThreadPoolExecutor  # brings all of logging, which one model does without

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(run, np.array_split(models, count)))
