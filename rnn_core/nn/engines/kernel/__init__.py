"""The compiled kernel of the NumPy engine: the same arithmetic in C, many times faster.

`kernel.c` is compiled when the package is installed. Without a C compiler the installation succeeds
without it, and the engine computes in NumPy. `available()` returns which of the two is the case;
`RNNFLOW_KERNEL=0` in the environment turns the kernel off.

It covers every model that a configuration can describe: all cells, layers with dropout between
them, both directions, either head, windows of different lengths, truncation; all losses with masks
and class weights; all rules, clips and learning rates; float32 and float64; any sizes. NumPy
computes the rest: arrays of several types, and what its checks refuse.

After 100 updates the parameters are those of NumPy to 1e-12 of the largest in float64, to 1e-4 in
float32. A model's bits depend neither on the number of threads nor on the other models of a stack.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np

from rnn_core.errors import ArrayError, ConfigError
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.engines import Inputs, Targets, rule_of, thread_count
from rnn_core.nn.losses import class_count
from rnn_core.nn.network import param_shapes
from rnn_core.nn.optim import Rule, State
from rnn_core.nn.settings import Model, Training

SWITCH = "RNNFLOW_KERNEL"
LIBRARY = f"{__name__}._kernel"

# The codes of the enumerations in kernel.c. A name that is not here is left to NumPy.
CELL_CODES = {
    "rnn_tanh": 1,
    "gru": 2,
    "lstm": 3,
    "rnn_relu": 4,
    "rnn_sigmoid": 5,
    "rnn_prelu": 6,
}
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
REBUILD = "the kernel was built from another kernel.c; install the package again"

INTEGERS = (
    *("instruction_set", "single_precision", "cell", "bias", "num_layers", "directions"),
    *("every_step", "tanh_head", "loss", "rule"),
    *("seq_len", "input_size", "hidden_size", "output_size", "param_count", "truncate"),
    *("models", "epochs", "steps", "batch", "updates"),
)
NUMBERS = (
    *("dropout", "momentum", "weight_decay", "beta1", "beta2", "eps", "clip_norm", "clip_value"),
)
POINTERS = (
    *("x", "center", "scale", "y", "mask", "lengths", "class_weights", "chosen", "rows", "rate"),
    *("draw", "streams"),
    *("params", "first", "second", "step", "frozen", "losses"),
)
VERSION = 3  # of the task and its codes, as in kernel.c; a library of another version is not used
FIELDS = {"velocity": "first"}  # fields of a task that are not named as their array


class Task(ctypes.Structure):
    """The arguments of a call: field by field the Task of kernel.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in INTEGERS),
        *((name, ctypes.c_double) for name in NUMBERS),
        *((name, ctypes.c_void_p) for name in POINTERS),
    )


def load(path: str) -> ctypes.CDLL | None:
    """Load the library at `path`; None if it does not load or was built from another kernel.c."""
    try:
        compiled = ctypes.CDLL(path)
    except OSError:
        return None
    pointer = ctypes.c_void_p
    integer = ctypes.c_int64
    if not hasattr(compiled, "kernel_version"):  # built before there were versions
        return None
    compiled.kernel_version.restype = integer
    compiled.kernel_task_size.restype = integer
    compiled.kernel_instruction_sets.restype = integer
    compiled.kernel_train.argtypes = (ctypes.POINTER(Task),)
    compiled.kernel_loss.argtypes = (ctypes.POINTER(Task),)
    compiled.kernel_tanh.argtypes = (integer, integer, pointer, pointer, integer)
    same_task = compiled.kernel_task_size() == ctypes.sizeof(Task)
    return compiled if same_task and compiled.kernel_version() == VERSION else None


@cache
def library() -> ctypes.CDLL | None:
    """Load the library that the installation built; None if it built none."""
    built = find_spec(LIBRARY)
    return None if built is None or built.origin is None else load(built.origin)


def available() -> bool:
    """Return whether the kernel is built and not turned off."""
    return os.environ.get(SWITCH) != "0" and library() is not None


def uncovered(
    model: Model, training: Training, inputs: Inputs, targets: Targets, params: Params
) -> str | None:
    """Return why a training is left to NumPy; None if the kernel, built or not, covers it."""
    arrays = (inputs.x, inputs.center, inputs.scale, targets.y, *params.values())
    reasons = {
        f"cell {model.cell}": model.cell not in CELL_CODES,
        f"loss {targets.loss}": targets.loss not in LOSS_CODES,
        f"rule {training.optimiser}": training.optimiser not in RULE_CODES,
        "truncation of both directions": model.bidirectional and training.truncate is not None,
        "arrays of several types": {array.dtype for array in arrays} != {np.dtype(training.dtype)},
    }
    for reason, applies in reasons.items():
        if applies:
            return reason
    if not _fit(model, inputs, targets, params):
        return "shapes that do not fit"  # NumPy's own checks name them
    return None


def _fit(model: Model, inputs: Inputs, targets: Targets, params: Params) -> bool:
    """Return whether the kernel may trust the sizes of all arrays that it gets pointers to."""
    if inputs.x.ndim != 3 or 0 in inputs.x.shape or targets.y.ndim != 3:
        return False
    rows, seq_len, input_size = inputs.x.shape
    steps = seq_len if model.readout == "steps" else 1
    outputs = targets.y.shape[2]
    models = len(next(iter(params.values())))
    shapes = param_shapes(model, input_size, outputs)
    of_stack = [(name, (models, *shape)) for name, shape in shapes.items()]
    return (
        [(name, value.shape) for name, value in params.items()] == of_stack
        and inputs.center.shape == inputs.scale.shape == (models, input_size)
        and _lengths_fit(inputs.lengths, rows, seq_len)
        and _targets_fit(targets, (rows, steps, outputs))
    )


def _lengths_fit(lengths: Array | None, rows: int, seq_len: int) -> bool:
    if lengths is None:
        return True
    return lengths.shape == (rows,) and bool(((lengths >= 1) & (lengths <= seq_len)).all())


def _targets_fit(targets: Targets, shape: tuple[int, int, int]) -> bool:
    weights = targets.class_weights
    classes = class_count(targets.loss, shape[2])
    return (
        targets.y.shape == shape
        and targets.mask.shape == shape[:2]
        and (weights is None or weights.shape == (classes,))
    )


class Kernel:
    """The kernel on the windows of one stack; the engine keeps all that training changes."""

    def __init__(
        self,
        model: Model,
        training: Training,
        inputs: Inputs,
        targets: Targets,
        rngs: Sequence[np.random.Generator],
    ) -> None:
        compiled: Any = library()
        self._library = compiled
        self._arrays = _contiguous(inputs, targets)  # kept: a task holds only their addresses
        if model.dropout:
            self._arrays |= _streams(rngs)
        self._models = len(inputs.center)
        self._settings = {
            "instruction_set": compiled.kernel_instruction_sets() - 1,  # the fastest
            **_sizes(model, inputs, targets),
            **_rule_settings(rule_of(training)),
            **_addresses(self._arrays),
            "truncate": min(training.truncate or inputs.x.shape[1], inputs.x.shape[1]),
        }

    def train(
        self, rows: Array, rate: Array, flat: Array, memory: State, frozen: Array, updates: int
    ) -> Array:
        """Train on batches of `rows` (M, E, steps, B) at `rate` (M, E); return losses (M, E).

        The parameters `flat` (M, P), the rule's `memory` and `frozen` (M,) are changed in place;
        `updates` were made before. The loss of a model without rows is NaN.

        Raises:
            ArrayError, ConfigError, IndexError, MemoryError: as in `_run`.
        """
        changing = {"params": flat, "frozen": frozen} | memory
        rates = np.ascontiguousarray(np.broadcast_to(rate, rows.shape[:2]), np.float64)
        return self._run(self._library.kernel_train, rows, changing, updates, rate=rates)

    def loss(self, rows: Array, flat: Array) -> Array:
        """Return the mean loss of each model (M,) over its `rows` (M, v).

        `flat` (M, P) are the parameters. The loss of a model without rows is NaN.

        Raises:
            ArrayError, ConfigError, IndexError, MemoryError: as in `_run`.
        """
        one_batch = rows[:, None, None]
        return self._run(self._library.kernel_loss, one_batch, {"params": flat})[:, 0]

    def _run(
        self,
        function: Any,
        rows: Array,
        changing: dict[str, Array],
        updates: int = 0,
        **arrays: Array,
    ) -> Array:
        """Return the losses (M, E) that `function` writes; threads share the models that have rows.

        Raises:
            ConfigError: the library does not know the cell, the loss or the rule.
            ArrayError: rows, parameters or a state of another shape or type than the stack's.
            IndexError: a row beyond the windows.
            MemoryError: there is no memory for the activations of one batch.
        """
        self._check_rows(rows)
        _, epochs, steps, batch = rows.shape
        losses = np.full((self._models, epochs), np.nan)
        for name, value in changing.items():
            arrays[FIELDS.get(name, name)] = self._checked(name, value)
        arrays["rows"] = np.ascontiguousarray(rows, np.int64)
        arrays["losses"] = losses
        settings = {
            **self._settings,
            **_addresses(arrays),
            "epochs": epochs,
            "steps": steps,
            "batch": batch,
            "updates": updates,
        }

        def run(models: Array) -> None:
            task = Task(models=len(models), chosen=models.ctypes.data, **settings)
            _check_outcome(function(task), batch)

        _on_threads(run, np.flatnonzero((rows >= 0).any(axis=(1, 2, 3))))
        return losses

    def _check_rows(self, rows: Array) -> None:
        windows = len(self._arrays["x"])
        if len(rows) != self._models:
            raise ArrayError(f"rows for {len(rows)} models; the stack has {self._models}")
        if rows.max(initial=-1) >= windows:
            raise IndexError(f"there is no row {rows.max()}: the stack has {windows} windows")

    def _checked(self, name: str, array: Array) -> Array:
        """Return `array` if C may work in it, else raise ArrayError."""
        by_model = {"step": np.dtype(np.float64), "frozen": np.dtype(np.int64)}
        if name in by_model:
            dtype = by_model[name]
            shape: tuple[int, ...] = (self._models,)
        else:
            dtype = self._arrays["x"].dtype
            shape = (self._models, self._settings["param_count"])
        if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
            given = f"{array.dtype} array of shape {array.shape}"
            raise ArrayError(f"{name} is a {given}; {dtype} of shape {shape} is expected")
        return array


def _check_outcome(outcome: int, batch: int) -> None:
    """Raise the error that a call of the library returned, if it did."""
    if outcome == NO_MEMORY:
        raise MemoryError(f"no memory for the activations of {batch} windows of a batch")
    if outcome == UNKNOWN_CODE:
        raise ConfigError(REBUILD)


def _contiguous(inputs: Inputs, targets: Targets) -> dict[str, Array]:
    """Return the windows as C reads them."""
    outputs = targets.y.shape[2]
    class_weights = targets.class_weights
    if class_weights is None:
        class_weights = np.ones(max(2, outputs))
    arrays = {
        "x": np.ascontiguousarray(inputs.x),
        "center": np.ascontiguousarray(inputs.center),
        "scale": np.ascontiguousarray(inputs.scale),
        "y": np.ascontiguousarray(targets.y),
        "mask": np.ascontiguousarray(targets.mask, bool),
        "class_weights": np.ascontiguousarray(class_weights, inputs.x.dtype),
    }
    if inputs.lengths is not None:
        arrays["lengths"] = np.ascontiguousarray(inputs.lengths, np.int64)
    return arrays


def _streams(rngs: Sequence[np.random.Generator]) -> dict[str, Array]:
    """Return the addresses by which C draws from the generators as NumPy does.

    See "Extending" in NumPy's manual of random numbers. The caller keeps the generators alive, and
    draws nothing from them while C does.
    """
    interfaces = [rng.bit_generator.ctypes for rng in rngs]
    draw = [ctypes.cast(interface.next_uint32, ctypes.c_void_p).value for interface in interfaces]
    streams = [interface.state_address for interface in interfaces]
    return {"draw": np.array(draw, np.uintp), "streams": np.array(streams, np.uintp)}


def _sizes(model: Model, inputs: Inputs, targets: Targets) -> dict[str, float]:
    """Return the fields of a task that describe the network."""
    _, seq_len, input_size = inputs.x.shape
    output_size = targets.y.shape[2]
    shapes = param_shapes(model, input_size, output_size).values()
    return {
        "single_precision": inputs.x.dtype == np.float32,
        "cell": CELL_CODES[model.cell],
        "bias": model.bias,
        "num_layers": model.num_layers,
        "directions": 2 if model.bidirectional else 1,
        "every_step": model.readout == "steps",
        "tanh_head": model.head == "tanh",
        "loss": LOSS_CODES[targets.loss],
        "seq_len": seq_len,
        "input_size": input_size,
        "hidden_size": model.hidden_size,
        "output_size": output_size,
        "param_count": sum(map(prod, shapes)),
        "dropout": model.dropout,
    }


def _rule_settings(rule: Rule) -> dict[str, float]:
    """Return the fields of a task that describe the update rule."""
    beta1, beta2 = rule.betas
    return {
        "rule": RULE_CODES[rule.name],
        "momentum": rule.momentum,
        "weight_decay": rule.weight_decay,
        "beta1": beta1,
        "beta2": beta2,
        "eps": rule.eps,
        "clip_norm": np.inf if rule.clip_norm is None else rule.clip_norm,
        "clip_value": np.inf if rule.clip_value is None else rule.clip_value,
    }


def _addresses(arrays: dict[str, Array]) -> dict[str, int]:
    return {name: value.ctypes.data for name, value in arrays.items()}


def _on_threads(run: Callable[[Array], None], models: Array) -> None:
    """Run a share of the `models` on each thread, if there are two models or more."""
    count = min(len(models), thread_count())
    if count < 2:
        run(models)
        return
    from concurrent.futures import ThreadPoolExecutor  # slow to import, unused for one model

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(run, np.array_split(models, count)))
