"""What the layers refuse."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnn_core.errors import ArrayError, ConfigError
from rnn_core.nn.arrays import Array, Params, check_array
from rnn_core.nn.layers.axes import State, _padding, _parts, _without
from rnn_core.nn.layers.cells import GATES


def _check_linear(params: Params, x: Array) -> None:
    weight = params["weight"]
    if weight.ndim != 3 or x.ndim < 2 or weight.shape[::2] != x.shape[:: x.ndim - 1]:
        raise ArrayError(f"x has shape {x.shape} and weight {weight.shape}; (M, ..., I) and (M, O, I) are expected")
    if "bias" in params and params["bias"].shape != weight.shape[:2]:
        raise ArrayError(f"bias has shape {params['bias'].shape}; (M, O) = {weight.shape[:2]} is expected")


def _check_dropout(p: float, rng: Sequence[np.random.Generator] | None, models: int) -> None:
    if not 0 <= p < 1:
        raise ConfigError(f"dropout is {p}; a probability in [0, 1) is expected")
    streams = list(rng) if isinstance(rng, Sequence) else []
    if p > 0 and not (len({id(stream) for stream in streams}) == len(streams) == models):
        received = f"{len(streams)} Generators" if streams else type(rng).__name__
        raise ArrayError(f"rng is {received}; dropout expects {models} Generators, one of its own for each model")


def _check_inputs(x: Array, lengths: Array | Sequence[int] | None) -> None:
    check_array("x", x, (None,) * 4, axes="M, N, T, I", finite=False)
    if x.size == 0:
        raise ArrayError(f"x has shape {x.shape}; (M, N, T, I) of at least 1 each are expected")
    padding = None
    if lengths is not None:
        _check_lengths(np.asarray(lengths), *x.shape[:3])
        padding = np.moveaxis(_padding(lengths, x.shape[2]), 0, 2)  # (1 or M, N, T, 1)
    check_array("x", _without(padding, x), x.shape, axes="M, N, T, I")


def _check_lengths(lengths: Array, models: int, batch: int, seq_len: int) -> None:
    if lengths.dtype.kind not in "iu" or lengths.shape not in ((batch,), (models, batch)):
        raise ArrayError(
            f"lengths is a {lengths.dtype} array of shape {lengths.shape}; "
            f"integers of shape (N,) = ({batch},) or (M, N) = ({models}, {batch}) are expected"
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
    lacking = [name for name in expected if name not in params]
    surplus = [name for name in params if name not in expected]
    if lacking or surplus:
        raise ArrayError(
            f"params lacks {', '.join(lacking) or 'nothing'} and has {', '.join(surplus) or 'nothing'} too much: "
            f"{num_layers} layers of {cell} in {directions} directions are expected"
        )
    for name, (axes, shape) in expected.items():
        check_array(name, params[name], shape, axes=axes, dtype=x.dtype)


def _param_shapes(
    params: Params, x: Array, cell: str, num_layers: int, directions: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The axes and the shape of each parameter that belongs with x."""
    models, hidden_size = len(x), params["weight_hh_l0"].shape[-1]
    rows = GATES[cell] * hidden_size
    expected: dict[str, tuple[str, tuple[int, ...]]] = {}
    for layer in range(num_layers):
        input_size = x.shape[-1] if layer == 0 else directions * hidden_size
        for direction in ("", "_reverse")[:directions]:
            name = f"l{layer}{direction}"
            expected[f"weight_ih_{name}"] = "M, G·H, I" if layer == 0 else "M, G·H, D·H", (models, rows, input_size)
            expected[f"weight_hh_{name}"] = "M, G·H, H", (models, rows, hidden_size)
            if any(given.startswith("bias") for given in params):
                expected[f"bias_ih_{name}"] = expected[f"bias_hh_{name}"] = "M, G·H", (models, rows)
            if cell == "rnn_prelu":
                flat = np.ndim(params.get(f"slope_{name}", 0)) == 1
                expected[f"slope_{name}"] = ("M", (models,)) if flat else ("M, 1", (models, 1))
    return expected


def _check_initial(cell: str, h0: Array | None, c0: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if c0 is not None and cell != "lstm":
        raise ArrayError(f"c0 of shape {np.shape(c0)} is given; cell is {cell}, and only an lstm has cell states")
    for name, state in (("h0", h0), ("c0", c0)):
        if state is not None:
            check_array(name, state, shape, axes="M, D·num_layers, N, H", dtype=dtype)


def _check_d_state(d_state: State, state: State) -> None:
    given, expected = _parts(d_state), _parts(state)
    if len(given) != len(expected):
        raise ArrayError(f"d_state has {len(given)} arrays; {len(expected)} are expected, as state has")
    for name, part, of in zip(("h_n", "c_n"), given, expected, strict=False):
        check_array(f"d_state of {name}", part, of.shape, axes="M, D·num_layers, N, H", dtype=of.dtype, finite=False)
