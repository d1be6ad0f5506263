"""To torch and back: state dicts, torch's own layers on our parameters, and the graph of their gradients."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.engines.torch_engine import Tensors, _array, _network
from rnn_core.nn.settings import Model


def to_torch_state_dict(params: Params, model: int = 0) -> Tensors:
    """One model of a stack as tensors, {name: (…)}, of the same type.

    The names are torch's, so `torch.nn.RNN`, `GRU` and `LSTM` load the recurrent parameters as they are. Those of a
    whole network hold its head besides (`head.weight`, …), for a module that has a `torch.nn.Linear` of that name.
    """
    return {name: torch.from_numpy(value[model].copy()) for name, value in params.items()}


def from_torch_state_dict(state_dict: Mapping[str, Tensor]) -> Params:
    """The tensors of a torch module as a stack of one model, {name: (1, …)}."""
    return {name: tensor.detach().cpu().numpy()[None].copy() for name, tensor in state_dict.items()}


def reference(model: Model, params: Params, x: Array) -> Params:
    """What torch's own RNN, GRU or LSTM makes of x (N, T, I) with the recurrent parameters of a stack's first model.

    `output` (N, T, D·H), `h_n` (D·num_layers, N, H) and of an LSTM `c_n`. torch has no RNN of another cell than tanh
    and relu.
    """
    options = {"nonlinearity": model.cell.removeprefix("rnn_")} if model.cell.startswith("rnn") else {}
    module = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}.get(model.cell, torch.nn.RNN)(
        x.shape[-1],
        model.hidden_size,
        model.num_layers,
        bias=model.bias,
        bidirectional=model.bidirectional,
        batch_first=True,
        dtype=torch.from_numpy(x).dtype,
        **options,
    )
    own = to_torch_state_dict(params)
    module.load_state_dict({name: own[name] for name in module.state_dict()})
    with torch.no_grad():
        output, state = module(torch.from_numpy(x))
    h_n, *c_n = state if isinstance(state, tuple) else (state,)
    return {"output": _array(output), "h_n": _array(h_n)} | ({"c_n": _array(c_n[0])} if c_n else {})


def graph(model: Model, params: Params, input_size: int, steps: int) -> str:
    """The graph that gradients travel back through from `steps` steps of one sequence to the parameters, in DOT."""
    from torchviz import make_dot

    leaves = {name: torch.from_numpy(value[:1]).requires_grad_() for name, value in params.items()}
    x = next(iter(leaves.values())).new_zeros(1, 1, steps, input_size)
    drawn = make_dot(_network(leaves, x, model), params=leaves).source
    numbers: dict[str, str] = {}  # of the nodes, whose names are addresses in memory
    return re.sub(r"\b\d{9,}\b", lambda address: numbers.setdefault(address[0], str(len(numbers))), drawn)
