"""What the layers refuse, in one line each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnn_core.errors import ArrayError, ConfigError
from rnn_core.nn.arrays import Array, Params, check_array
from rnn_core.nn.layers.axes import State, padding_mask, split_state, zero_padding
from rnn_core.nn.layers.cells import GATES


def check_linear(params: Params, x: Array) -> None:
    """Refuse what `linear` cannot multiply."""
    weight = params["weight"]
    fits = weight.ndim == 3 and x.ndim >= 2 and weight.shape[::2] == x.shape[:: x.ndim - 1]
    if not fits:
        received = f"x has shape {x.shape} and weight {weight.shape}"
        raise ArrayError(f"{received}; (M, ..., I) and (M, O, I) are expected")
    bias_shape = weight.shape[:2]
    if "bias" in params and params["bias"].shape != bias_shape:
        received = f"bias has shape {params['bias'].shape}"
        raise ArrayError(f"{received}; (M, O) = {bias_shape} is expected")


def check_dropout(p: float, rng: Sequence[np.random.Generator] | None, models: int) -> None:
    """Refuse a p that is no probability below 1, and streams that are not one for each model."""
    if not 0 <= p < 1:
        raise ConfigError(f"dropout is {p}; a probability in [0, 1) is expected")
    streams = list(rng) if isinstance(rng, Sequence) else []
    distinct = {id(stream) for stream in streams}
    if p > 0 and not len(distinct) == len(streams) == models:
        received = f"{len(streams)} Generators" if streams else type(rng).__name__
        raise ArrayError(f"rng is {received}; dropout expects {models} distinct Generators")


def check_arguments(
    params: Params,
    x: Array,
    cell: str,
    num_layers: int,
    bidirectional: bool,
    lengths: Array | Sequence[int] | None,
    h0: Array | None,
    c0: Array | None,
    dropout: float,
    rng: Sequence[np.random.Generator] | None,
) -> None:
    """Refuse what `recurrent` cannot run."""
    directions = 1 + bidirectional
    _check_inputs(x, lengths)
    _check_params(params, x, cell, num_layers, directions)
    hidden_size = params["weight_hh_l0"].shape[-1]
    state_shape = (len(x), directions * num_layers, x.shape[1], hidden_size)
    _check_initial(cell, h0, c0, state_shape, x.dtype)
    check_dropout(dropout, rng, len(x))


def check_gradients(
    d_output: Array | None, d_state: State | None, output: Array, state: State
) -> None:
    """Refuse gradients that are not shaped as what they are gradients of."""
    if d_output is not None:
        _check_gradient("d_output", d_output, output, "M, N, T, D·H")
    if d_state is None:
        return
    given = split_state(d_state)
    expected = split_state(state)
    if len(given) != len(expected):
        raise ArrayError(f"d_state has {len(given)} arrays; {len(expected)} are expected")
    for name, gradient, part in zip(("h_n", "c_n"), given, expected, strict=False):
        _check_gradient(f"d_state of {name}", gradient, part, "M, D·num_layers, N, H")


def _check_gradient(name: str, gradient: Array, of: Array, axes: str) -> None:
    check_array(name, gradient, of.shape, axes=axes, dtype=of.dtype, finite=False)


def _check_inputs(x: Array, lengths: Array | Sequence[int] | None) -> None:
    check_array("x", x, (None,) * 4, axes="M, N, T, I", finite=False)
    if x.size == 0:
        raise ArrayError(f"x has shape {x.shape}; (M, N, T, I) of at least 1 each are expected")
    padding = None
    if lengths is not None:
        _check_lengths(np.asarray(lengths), *x.shape[:3])
        padding = np.moveaxis(padding_mask(lengths, x.shape[2]), 0, 2)  # (1 or M, N, T, 1)
    check_array("x", zero_padding(x, padding), x.shape, axes="M, N, T, I")


def _check_lengths(lengths: Array, models: int, batch: int, seq_len: int) -> None:
    if lengths.dtype.kind not in "iu" or lengths.shape not in ((batch,), (models, batch)):
        raise ArrayError(
            f"lengths is a {lengths.dtype} array of shape {lengths.shape}; integers of shape "
            f"(N,) = ({batch},) or (M, N) = ({models}, {batch}) are expected"
        )
    if lengths.min() < 1 or lengths.max() > seq_len:
        raise ArrayError(
            f"lengths of shape {lengths.shape} run from {lengths.min()} to {lengths.max()}; "
            f"1 to T = {seq_len} is expected"
        )


def _check_params(params: Params, x: Array, cell: str, num_layers: int, directions: int) -> None:
    if cell not in GATES:
        raise ConfigError(f"cell is {cell!r}; one of {', '.join(GATES)} is expected")
    if num_layers < 1:
        raise ConfigError(f"num_layers is {num_layers}; at least 1 is expected")
    if "weight_hh_l0" not in params:
        raise ArrayError(f"params lacks weight_hh_l0; it has {', '.join(params) or 'nothing'}")
    check_array("weight_hh_l0", params["weight_hh_l0"], (None,) * 3, axes="M, G·H, H")
    expected = _param_shapes(params, x, cell, num_layers, directions)
    missing = ", ".join(name for name in expected if name not in params)
    unexpected = ", ".join(name for name in params if name not in expected)
    if missing or unexpected:
        raise ArrayError(
            f"params does not fit cell={cell}, num_layers={num_layers}, directions={directions}: "
            f"missing {missing or 'nothing'}, unexpected {unexpected or 'nothing'}"
        )
    for name, (axes, shape) in expected.items():
        check_array(name, params[name], shape, axes=axes, dtype=x.dtype)


def _param_shapes(
    params: Params, x: Array, cell: str, num_layers: int, directions: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the axes and the shape of each parameter that belongs with x."""
    models = len(x)
    hidden_size = params["weight_hh_l0"].shape[-1]
    rows = GATES[cell] * hidden_size
    with_biases = any(name.startswith("bias") for name in params)
    expected: dict[str, tuple[str, tuple[int, ...]]] = {}
    for layer in range(num_layers):
        width = x.shape[-1] if layer == 0 else directions * hidden_size
        input_axes = "M, G·H, I" if layer == 0 else "M, G·H, D·H"
        for direction in ("", "_reverse")[:directions]:
            suffix = f"l{layer}{direction}"
            expected[f"weight_ih_{suffix}"] = input_axes, (models, rows, width)
            expected[f"weight_hh_{suffix}"] = "M, G·H, H", (models, rows, hidden_size)
            if with_biases:
                expected[f"bias_ih_{suffix}"] = "M, G·H", (models, rows)
                expected[f"bias_hh_{suffix}"] = "M, G·H", (models, rows)
            if cell == "rnn_prelu":
                expected[f"slope_{suffix}"] = _slope_shape(params.get(f"slope_{suffix}"), models)
    return expected


def _slope_shape(slope: Array | None, models: int) -> tuple[str, tuple[int, ...]]:
    """Return (M,) for a flat slope, else (M, 1)."""
    flat = slope is not None and np.ndim(slope) == 1
    return ("M", (models,)) if flat else ("M, 1", (models, 1))


def _check_initial(
    cell: str,
    h0: Array | None,
    c0: Array | None,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> None:
    if c0 is not None and cell != "lstm":
        received = f"c0 of shape {np.shape(c0)}"
        raise ArrayError(f"{received} is given; only an lstm has cell states (got cell={cell})")
    for name, state in (("h0", h0), ("c0", c0)):
        if state is not None:
            check_array(name, state, shape, axes="M, D·num_layers, N, H", dtype=dtype)
