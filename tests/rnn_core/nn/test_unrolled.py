"""Unrolled nets: torch's logits and gradients, and the same bits alone as in a stack."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from rnn_core.config import Model
from rnn_core.nn.arrays import Array, Params, flatten, unflatten
from rnn_core.nn.engines.unrolled import Unrolled, layout
from rnn_core.nn.network import initial_params
from rnn_core.nn.settings import Cell

CELLS: tuple[Cell, ...] = ("rnn_tanh", "gru", "lstm")
INPUTS, OUTPUTS, HIDDEN = 2, 3, 5
MODULES = {"rnn_tanh": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
SIZES = [(1, 1, 6), (1, 4, 6), (2, 1, 1), (2, 4, 6), (2, 40, 6)]  # models, sequences and steps

cells = pytest.mark.parametrize("cell", CELLS)
readouts = pytest.mark.parametrize("readout", ["last", "steps"])


def case(model: Model, models: int, rows: int, seq_len: int) -> tuple[Params, Array, Array]:
    """Parameters, inputs and a gradient of the logits."""
    rng = np.random.default_rng([models, rows, seq_len])
    params = initial_params(
        model, INPUTS, OUTPUTS, [np.random.default_rng(m) for m in range(models)], "float64"
    )
    steps = seq_len if model.readout == "steps" else 1
    return (
        params,
        rng.normal(size=(models, rows, seq_len, INPUTS)),
        rng.normal(size=(models, rows, steps, OUTPUTS)),
    )


def run(model: Model, params: Params, x: Array, dlogits: Array) -> tuple[Array, Params]:
    """Logits and, by torch's names, the gradients; of a second run, which writes over the first."""
    shapes = {name: value.shape[1:] for name, value in params.items()}
    flat = flatten(params)
    blocks = layout(model, unflatten(np.arange(flat.shape[1]), shapes))
    order = np.concatenate([block.ravel() for block in blocks.values()])
    own = np.ascontiguousarray(flat[:, order])
    net = Unrolled(model, own, {name: block.shape for name, block in blocks.items()}, x.shape)
    net(-x, None)[1](-dlogits)
    logits, backward = net(x, None)
    grads = np.empty_like(flat)
    grads[:, order] = backward(dlogits)
    return logits, unflatten(grads, shapes)


def of_torch(model: Model, params: Params, x: Array, dlogits: Array) -> tuple[Array, Params]:
    """The same of one model, (N, S, O) and {name: (...)}, by torch's modules and autograd."""
    recurrent = MODULES[model.cell](
        INPUTS, HIDDEN, bias=model.bias, batch_first=True, dtype=torch.float64
    )
    head = torch.nn.Linear(HIDDEN, OUTPUTS, dtype=torch.float64)
    net = torch.nn.ModuleDict({"recurrent": recurrent, "head": head})
    names = {name: name if "." in name else f"recurrent.{name}" for name in params}
    net.load_state_dict({names[name]: torch.tensor(value) for name, value in params.items()})
    output, _ = recurrent(torch.tensor(x))
    logits = head(output[:, -dlogits.shape[1] :])
    logits.backward(torch.tensor(dlogits))
    own = dict(net.named_parameters())
    return logits.detach().numpy(), {name: own[names[name]].grad.numpy() for name in params}


@cells
@readouts
@pytest.mark.parametrize("bias", [True, False])
def test_logits_and_gradients_equal_those_of_torchs_modules(
    bias: bool, readout: str, cell: Cell
) -> None:
    model = Model(cell=cell, hidden_size=HIDDEN, bias=bias, readout=readout)
    for models, rows, seq_len in SIZES:
        params, x, dlogits = case(model, models, rows, seq_len)
        logits, grads = run(model, params, x, dlogits)
        for m in range(models):
            one = {name: value[m] for name, value in params.items()}
            expected, expected_grads = of_torch(model, one, x[m], dlogits[m])
            np.testing.assert_allclose(logits[m], expected, rtol=0, atol=1e-13)
            largest = max(np.abs(value).max() for value in expected_grads.values())
            for name, value in expected_grads.items():
                assert np.abs(grads[name][m] - value).max() <= 1e-12 * largest, (
                    name,
                    models,
                    rows,
                    seq_len,
                )


@cells
@readouts
def test_a_model_of_a_stack_has_the_bits_it_has_alone(readout: str, cell: Cell) -> None:
    model = Model(cell=cell, hidden_size=HIDDEN, readout=readout)
    for hidden_size, rows in product((1, 16, 33), (1, 4, 40)):
        model = replace(model, hidden_size=hidden_size)
        params, x, dlogits = case(model, 3, rows, 6)
        logits, grads = run(model, params, x, dlogits)
        for m in range(3):
            one = slice(m, m + 1)
            alone, own = run(
                model, {name: value[one] for name, value in params.items()}, x[one], dlogits[one]
            )
            assert alone.tobytes() == logits[one].tobytes()
            for name, value in own.items():
                assert value.tobytes() == grads[name][one].tobytes(), (name, hidden_size, rows)
