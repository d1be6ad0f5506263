"""State dicts to and from torch, torch's own layers as a reference, and the graph of gradients."""

import re
from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import pytest
import torch
from oracles import every, parts, random_params, relative_error

import rnn_core
from rnn_core.nn.network import initial_params, network
from rnn_core.nn.settings import Cell, Model
from rnn_core.nn.torch_bridge import graph, reference

IN_TORCH: dict[Cell, Callable[..., torch.nn.Module]] = {
    "rnn_tanh": torch.nn.RNN,
    "rnn_relu": partial(torch.nn.RNN, nonlinearity="relu"),
    "gru": torch.nn.GRU,
    "lstm": torch.nn.LSTM,
}


@pytest.mark.parametrize("cell", IN_TORCH)
def test_torchs_modules_load_one_model_of_a_stack_unmapped_and_give_the_same_output(
    cell: Cell,
) -> None:
    rng = np.random.default_rng(0)
    for option in every(num_layers=[1, 2], bidirectional=[False, True], bias=[True, False]):
        params = random_params(rng, cell, models=3, **option)
        module = IN_TORCH[cell](3, 4, batch_first=True, dtype=torch.float64, **option)
        net = {
            "cell": cell,
            "num_layers": option["num_layers"],
            "bidirectional": option["bidirectional"],
        }
        x = rng.normal(size=(3, 2, 5, 3))
        output, state, _ = rnn_core.recurrent(params, x, **net)
        for m in range(3):
            module.load_state_dict(rnn_core.to_torch_state_dict(params, m), strict=True)
            with torch.no_grad():
                expected, expected_state = module(torch.tensor(x[m]))
            assert relative_error(output[m], expected.numpy()) < 1e-13
            for part, wanted in zip(parts(state), parts(expected_state), strict=True):
                assert relative_error(part[m], wanted.numpy()) < 1e-13


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", IN_TORCH)
def test_a_state_dict_comes_back_bit_for_bit_as_a_stack_of_one(cell: Cell, dtype: str) -> None:
    params = random_params(
        np.random.default_rng(0), cell, models=3, num_layers=2, bidirectional=True, dtype=dtype
    )
    module = IN_TORCH[cell](3, 4, num_layers=2, bidirectional=True, dtype=getattr(torch, dtype))
    module.load_state_dict(rnn_core.to_torch_state_dict(params, model=1), strict=True)
    back = rnn_core.from_torch_state_dict(module.state_dict())
    assert list(back) == list(params)
    for name, value in back.items():
        assert value.dtype == dtype
        assert value.shape == (1, *params[name].shape[1:])
        assert value.tobytes() == params[name][1:2].tobytes()


def test_neither_conversion_shares_memory() -> None:
    params = random_params(np.random.default_rng(0), "gru")
    kept = {name: value.copy() for name, value in params.items()}
    module = torch.nn.GRU(3, 4, dtype=torch.float64)
    state_dict = rnn_core.to_torch_state_dict(params)
    module.load_state_dict(state_dict)
    back = rnn_core.from_torch_state_dict(module.state_dict())
    for tensor in (*state_dict.values(), *module.parameters()):
        tensor.data.zero_()
    for name, value in kept.items():
        assert params[name].tobytes() == back[name].tobytes() == value.tobytes()


@pytest.mark.parametrize("head", ["linear", "tanh"])
def test_a_whole_network_loads_into_a_module_with_a_head(head: Literal["linear", "tanh"]) -> None:
    class Network(torch.nn.GRU):
        """What a user of torch would write."""

        def __init__(self) -> None:
            super().__init__(3, 4, num_layers=2, batch_first=True, dtype=torch.float64)
            if head == "tanh":
                self.hidden = torch.nn.Linear(4, 4, dtype=torch.float64)
            self.head = torch.nn.Linear(4, 2, dtype=torch.float64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _, h_n = super().forward(x)
            return self.head(self.hidden(h_n[-1]).tanh() if head == "tanh" else h_n[-1])

    model = Model(cell="gru", hidden_size=4, num_layers=2, head=head)
    params = initial_params(model, 3, 2, [np.random.default_rng(m) for m in range(2)], "float64")
    x = np.random.default_rng(2).normal(size=(2, 5, 6, 3))
    logits, _ = network(params, x, model)
    module = Network()
    for m in range(2):
        module.load_state_dict(rnn_core.to_torch_state_dict(params, m), strict=True)
        with torch.no_grad():
            assert relative_error(logits[m, :, 0], module(torch.tensor(x[m])).numpy()) < 1e-13
    back = rnn_core.from_torch_state_dict(module.state_dict())
    assert back.keys() == params.keys()
    assert all(value.tobytes() == params[name][1:].tobytes() for name, value in back.items())


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", IN_TORCH)
def test_the_reference_is_what_our_layers_compute(cell: Cell, bidirectional: bool) -> None:
    model = Model(cell=cell, hidden_size=4, num_layers=2, bidirectional=bidirectional)
    params = initial_params(model, 3, 1, [np.random.default_rng(0)], "float64")
    x = np.random.default_rng(1).normal(size=(5, 7, 3))
    layers = {name: value for name, value in params.items() if "." not in name}
    output, state, _ = rnn_core.recurrent(
        layers, x[None], cell=cell, num_layers=2, bidirectional=bidirectional
    )
    expected = {"output": output, **dict(zip(("h_n", "c_n"), parts(state), strict=False))}
    computed = reference(model, params, x)
    assert computed.keys() == expected.keys()
    for name, value in computed.items():
        assert relative_error(value, expected[name][0]) < 1e-13, name


def test_the_graph_goes_back_through_every_step_to_every_parameter_and_is_the_same_each_time() -> (
    None
):
    model = Model(hidden_size=4)
    params = initial_params(model, 3, 1, [np.random.default_rng(0)], "float64")
    dot = graph(model, params, input_size=3, steps=5)
    assert dot.startswith("digraph")
    assert dot.count("TanhBackward") == 5
    assert all(name in dot for name in params)
    assert not re.search(r"\d{9}", dot), "addresses in memory differ from run to run"
    assert graph(model, params, input_size=3, steps=5) == dot
