"""To torch and back: state dicts, torch's own layers as a reference, and the graph of gradients."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.engines.torch_engine import Tensors, _network
from rnn_core.nn.settings import Model


def to_torch_state_dict(params: Params, model: int = 0) -> Tensors:
    """Return one model of a stack as tensors, {name: (…)}, of the same type.

    The names are torch's, so `torch.nn.RNN`, `GRU` and `LSTM` load the recurrent parameters as they
    are. Those of a whole network also hold its head (`head.weight`, …), for a module that has a
    `torch.nn.Linear` of that name.

    >>> import numpy as np
    >>> to_torch_state_dict({"head.bias": np.array([[0.5], [0.25]])}, model=1)
    {'head.bias': tensor([0.2500], dtype=torch.float64)}
    """
    return {name: torch.from_numpy(value[model].copy()) for name, value in params.items()}


def from_torch_state_dict(state_dict: Mapping[str, Tensor]) -> Params:
    """Return the tensors of a torch module as a stack of one model, {name: (1, …)}.

    >>> from_torch_state_dict({"head.bias": torch.tensor([0.5])})
    {'head.bias': array([[0.5]], dtype=float32)}
    """
    return {name: _array(tensor)[None].copy() for name, tensor in state_dict.items()}


def reference(model: Model, params: Params, x: Array) -> Params:
    """Return what torch's own layer computes with a stack's first model.

    The recurrent parameters are used and no head. torch has an RNN of tanh and relu alone.

    Args:
        model: says which layer: torch.nn.RNN, GRU or LSTM.
        params: of a whole stack, by torch's names.
        x: (N, T, I)

    Returns:
        `output` (N, T, D·H), `h_n` (D·num_layers, N, H) and of an LSTM `c_n`.
    """
    tensors = to_torch_state_dict(params)
    inputs = torch.from_numpy(x)
    module = _module(model, inputs)
    module.load_state_dict({name: tensors[name] for name in module.state_dict()})
    with torch.no_grad():
        output, state = module(inputs)
    if model.cell != "lstm":
        return {"output": _array(output), "h_n": _array(state)}
    h_n, c_n = state
    return {"output": _array(output), "h_n": _array(h_n), "c_n": _array(c_n)}


def graph(model: Model, params: Params, input_size: int, steps: int) -> str:
    """Return the graph of gradients from the loss of one sequence to the parameters, in DOT.

    Args:
        model: the network.
        params: of a stack; the graph is that of its first model.
        input_size: inputs of a step.
        steps: the length of the sequence.
    """
    from torchviz import make_dot

    leaves = {name: torch.from_numpy(value[:1]) for name, value in params.items()}
    for leaf in leaves.values():
        leaf.requires_grad_()
    x = next(iter(leaves.values())).new_zeros(1, 1, steps, input_size)
    dot: str = make_dot(_network(leaves, x, model), params=leaves).source
    return _with_small_numbers(dot)


def _module(model: Model, inputs: Tensor) -> torch.nn.Module:
    options: dict[str, Any] = {}
    if model.cell.startswith("rnn"):
        options["nonlinearity"] = model.cell.removeprefix("rnn_")
    module_class = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}.get(model.cell, torch.nn.RNN)
    module: torch.nn.Module = module_class(
        inputs.shape[-1],
        model.hidden_size,
        model.num_layers,
        bias=model.bias,
        bidirectional=model.bidirectional,
        batch_first=True,
        dtype=inputs.dtype,
        **options,
    )
    return module


def _with_small_numbers(dot: str) -> str:
    """Number the nodes from 0: their names are addresses in memory, other ones in each process."""
    numbers: dict[str, str] = {}

    def number(address: re.Match[str]) -> str:
        return numbers.setdefault(address[0], str(len(numbers)))

    return re.sub(r"\b\d{9,}\b", number, dot)


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array
