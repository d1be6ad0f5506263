"""The network against torch: its start, its outputs and its gradient, whole and truncated."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from oracles import directional_error, every, like, parts, random_params, relative_error
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnn_core.config import Model
from rnn_core.errors import ConfigError
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import GATES, run_recurrent
from rnn_core.nn.losses import binary_cross_entropy
from rnn_core.nn.network import initial_params, network, param_shapes, truncated_recurrent
from rnn_core.nn.settings import Cell

IN_TORCH: tuple[Cell, ...] = ("rnn_tanh", "rnn_relu", "gru", "lstm")
MODELS, ROWS, STEPS, INPUTS, HIDDEN, OUTPUTS = 2, 3, 7, 3, 4, 2
LENGTHS = np.array([[3, 7, 1], [6, 2, 4]])  # (M, N)


def streams(models: int = MODELS, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, m]) for m in range(models)]


class TorchNetwork(torch.nn.Module):
    """torch's own layers and heads, under the names of a params dict."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        kind = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}.get(model.cell, torch.nn.RNN)
        options = {"nonlinearity": model.cell.removeprefix("rnn_")} if kind is torch.nn.RNN else {}
        self.model = model
        self.recurrent = kind(
            INPUTS,
            model.hidden_size,
            model.num_layers,
            bias=model.bias,
            batch_first=True,
            bidirectional=model.bidirectional,
            **options,
        )
        width = model.hidden_size * (2 if model.bidirectional else 1)
        if model.head == "tanh":
            self.hidden = torch.nn.Linear(width, width)
        self.head = torch.nn.Linear(width, OUTPUTS)
        self.double()

    def load(self, params: Params, m: int) -> "TorchNetwork":
        with torch.no_grad():
            for name, own in self.named_parameters():
                own.copy_(torch.tensor(params[name.removeprefix("recurrent.")][m]))
        return self

    def gradients(self) -> Params:
        return {
            name.removeprefix("recurrent."): own.grad.numpy()
            for name, own in self.named_parameters()
        }

    def forward(self, x: torch.Tensor, lengths: Array | None) -> torch.Tensor:
        packed = x
        if lengths is not None:
            packed = pack_padded_sequence(
                x, torch.tensor(lengths), batch_first=True, enforce_sorted=False
            )
        output, state = self.recurrent(packed)
        last = state[0] if self.model.cell == "lstm" else state
        if self.model.readout == "steps":
            features = output
            if lengths is not None:
                features, _ = pad_packed_sequence(output, batch_first=True, total_length=x.shape[1])
        else:
            features = torch.cat(
                list(last[-2:] if self.model.bidirectional else last[-1:]), dim=-1
            )[:, None]
        if self.model.head == "tanh":
            features = self.hidden(features).tanh()
        return self.head(features)


# --- where it starts ------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", IN_TORCH)
def test_parameters_have_the_names_order_and_shapes_of_torchs_modules(cell: Cell) -> None:
    for option in every(
        num_layers=[1, 3], bidirectional=[False, True], bias=[True, False], head=["linear", "tanh"]
    ):
        model = Model(cell=cell, hidden_size=HIDDEN, **option)
        expected = {
            n.removeprefix("recurrent."): tuple(p.shape)
            for n, p in TorchNetwork(model).named_parameters()
        }
        assert list(param_shapes(model, INPUTS, OUTPUTS).items()) == list(expected.items())
        drawn = initial_params(model, INPUTS, OUTPUTS, streams(), "float32")
        assert {name: value.shape for name, value in drawn.items()} == {
            n: (2, *s) for n, s in expected.items()
        }
        assert {value.dtype for value in drawn.values()} == {np.dtype("float32")}


@pytest.mark.parametrize("bidirectional", [False, True])
def test_torch_init_is_uniform_within_torchs_bounds(bidirectional: bool) -> None:
    model = Model(
        cell="gru",
        hidden_size=9,
        num_layers=2,
        bidirectional=bidirectional,
        head="tanh",
        init="torch",
    )
    drawn = initial_params(model, INPUTS, OUTPUTS, streams(300), "float64")
    for name, own in TorchNetwork(model).named_parameters():
        name = name.removeprefix("recurrent.")
        bound = 1 / 3 if "_l" in name or not bidirectional else 18**-0.5
        assert own.abs().max() <= bound, "torch itself keeps to it"
        assert 0.98 * bound < np.abs(drawn[name]).max() <= bound, name
        assert drawn[name].std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
        assert abs(drawn[name].mean()) < 0.1 * bound


def test_xavier_init_is_uniform_within_its_bounds_gate_by_gate_with_biases_at_zero() -> None:
    model = Model(
        cell="lstm", hidden_size=9, num_layers=2, bidirectional=True, head="tanh", init="xavier"
    )
    drawn = initial_params(model, INPUTS, OUTPUTS, streams(300), "float64")
    fans = {"weight_ih_l0": 3 + 9, "weight_ih_l1": 18 + 9, "weight_hh_l1_reverse": 9 + 9}
    fans |= {"hidden.weight": 18 + 18, "head.weight": 18 + OUTPUTS}
    for name, fan in fans.items():
        bound = np.sqrt(6 / fan)
        assert 0.98 * bound < np.abs(drawn[name]).max() <= bound, name
        assert drawn[name].std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
    assert not any(value.any() for name, value in drawn.items() if "bias" in name)


@pytest.mark.parametrize("cell", GATES)
def test_orthogonal_init_makes_every_gates_recurrent_weights_orthogonal(cell: Cell) -> None:
    model = Model(cell=cell, hidden_size=5, num_layers=2, bidirectional=True, init="orthogonal")
    drawn = initial_params(model, INPUTS, OUTPUTS, streams(400), "float64")
    for name in ("weight_hh_l0", "weight_hh_l1_reverse"):
        gates = drawn[name].reshape(400, GATES[cell], 5, 5)
        np.testing.assert_allclose(
            gates @ gates.swapaxes(2, 3), np.broadcast_to(np.eye(5), gates.shape), atol=1e-14
        )
        diagonal = np.einsum("mghh->mgh", gates)
        assert np.abs(diagonal.mean(axis=0)).max() < 5 * diagonal.std() / np.sqrt(400), (
            "every rotation alike"
        )
        assert len(np.unique(gates.reshape(-1, 25), axis=0)) == 400 * GATES[cell]
    bound = np.sqrt(6 / (3 + 5))
    assert 0.98 * bound < np.abs(drawn["weight_ih_l0"]).max() <= bound
    assert not drawn["bias_hh_l0"].any()


def test_identity_init_keeps_the_state_and_starts_with_small_inputs() -> None:
    model = Model(cell="rnn_relu", hidden_size=5, num_layers=2, init="identity")
    drawn = initial_params(model, INPUTS, OUTPUTS, streams(200), "float64")
    for layer in (0, 1):
        np.testing.assert_array_equal(
            drawn[f"weight_hh_l{layer}"], np.broadcast_to(np.eye(5), (200, 5, 5))
        )
        assert drawn[f"weight_ih_l{layer}"].std() == pytest.approx(1e-3, rel=0.05)
        assert not drawn[f"bias_ih_l{layer}"].any()
    assert drawn["head.weight"].std() == pytest.approx(np.sqrt(6 / 7 / 3), rel=0.05)


@pytest.mark.parametrize("init", ["torch", "xavier"])
def test_the_forget_bias_is_added_to_the_forget_gate_alone(init: str) -> None:
    model = Model(cell="lstm", hidden_size=3, num_layers=2, bidirectional=True, init=init)
    without = initial_params(model, INPUTS, OUTPUTS, streams(), "float64")
    given = initial_params(replace(model, forget_bias=1.5), INPUTS, OUTPUTS, streams(), "float64")
    for name, value in given.items():
        added = np.zeros_like(value)
        if name.startswith("bias_ih"):
            added[:, 3:6] = 1.5  # i, f, g, o
        np.testing.assert_allclose(value, without[name] + added, rtol=1e-15, err_msg=name)


def test_a_slope_starts_where_torch_starts_it() -> None:
    drawn = initial_params(
        Model(cell="rnn_prelu", bidirectional=True), INPUTS, OUTPUTS, streams(), "float64"
    )
    assert drawn["slope_l0_reverse"].tolist() == [[torch.nn.PReLU().weight.item()]] * 2


@pytest.mark.parametrize("init", ["torch", "xavier", "orthogonal"])
def test_a_model_starts_the_same_alone_as_in_a_stack(init: str) -> None:
    model = Model(cell="gru", init=init)
    stack, alone = (
        initial_params(model, INPUTS, OUTPUTS, streams(3)[part], "float64")
        for part in (slice(3), slice(2, 3))
    )
    for name, value in stack.items():
        assert value[2:].tobytes() == alone[name].tobytes()
        assert "bias" in name or value[0].tobytes() != value[1].tobytes()


# --- what it computes -----------------------------------------------------------------------------


def error_to_torch(model: Model, lengths: Array | None) -> float:
    """Largest error of logits and gradient, each relative to the largest value of its kind."""
    rng = np.random.default_rng(1)
    shapes = param_shapes(model, INPUTS, OUTPUTS)
    params = {name: rng.uniform(-1, 1, (MODELS, *shape)) for name, shape in shapes.items()}
    x = rng.normal(size=(MODELS, ROWS, STEPS, INPUTS))
    logits, backward = network(params, x, model, lengths=lengths)
    dlogits = rng.normal(size=logits.shape)
    grads = backward(dlogits)
    assert list(grads) == list(params)
    errors = []
    for m in range(MODELS):
        oracle = TorchNetwork(model).load(params, m)
        expected = oracle(torch.tensor(x[m]), None if lengths is None else lengths[m])
        expected.backward(torch.tensor(dlogits[m]))
        errors.append(relative_error(logits[m], expected.detach().numpy()))
        largest = max(np.abs(grad).max() for grad in oracle.gradients().values())
        for name, grad in oracle.gradients().items():
            assert grads[name][m].shape == grad.shape
            errors.append(np.abs(grads[name][m] - grad).max() / largest)
    return float(max(errors))


@pytest.mark.parametrize("cell", IN_TORCH)
def test_logits_and_gradient_equal_those_of_torchs_modules(cell: Cell) -> None:
    for option in every(
        readout=["last", "steps"],
        head=["linear", "tanh"],
        bidirectional=[False, True],
        num_layers=[1, 2],
    ):
        model = Model(cell=cell, hidden_size=HIDDEN, **option)
        for lengths in (None, LENGTHS):
            assert error_to_torch(model, lengths) <= 1e-12, (option, lengths)


@pytest.mark.parametrize("cell", GATES)
def test_the_gradient_of_a_loss_equals_central_differences(cell: Cell) -> None:
    rng = np.random.default_rng(2)
    x, y = (
        rng.normal(size=(MODELS, ROWS, STEPS, INPUTS)),
        rng.random((MODELS, ROWS, STEPS, OUTPUTS)),
    )
    mask = np.arange(STEPS) < LENGTHS[..., None]
    model = Model(
        cell=cell,
        hidden_size=HIDDEN,
        num_layers=2,
        bidirectional=True,
        readout="steps",
        head="tanh",
    )
    params = initial_params(model, INPUTS, OUTPUTS, streams(), "float64")

    def loss(at: Params) -> tuple[Array, Callable[[], Params]]:
        logits, backward = network(at, x, model, lengths=LENGTHS)
        value, dlogits = binary_cross_entropy(logits, y, mask)
        return value, lambda: backward(dlogits)

    assert (
        directional_error(lambda at: float(loss(at)[0].sum()), params, loss(params)[1](), rng)
        < 1e-8
    )


def test_dropout_is_off_without_generators() -> None:
    model = Model(cell="gru", hidden_size=HIDDEN, num_layers=2, dropout=0.5)
    params = initial_params(model, INPUTS, OUTPUTS, streams(), "float64")
    x = np.random.default_rng(3).normal(size=(MODELS, ROWS, STEPS, INPUTS))
    plain, _ = network(params, x, replace(model, dropout=0.0))
    assert network(params, x, model)[0].tobytes() == plain.tobytes()
    assert (
        np.abs(network(params, x, model, rng=streams())[0] - plain).min(axis=(1, 2, 3)).min() > 1e-6
    )


# --- truncated ------------------------------------------------------------------------------------


def case(cell: str, num_layers: int = 2) -> tuple[Params, Array, dict[str, Any]]:
    rng = np.random.default_rng(4)
    params = random_params(
        rng, cell, models=MODELS, input_size=INPUTS, hidden_size=HIDDEN, num_layers=num_layers
    )
    return (
        params,
        rng.normal(size=(MODELS, ROWS, STEPS, INPUTS)),
        {"cell": cell, "num_layers": num_layers},
    )


@pytest.mark.parametrize("steps", [STEPS, STEPS + 1, 100])
@pytest.mark.parametrize("cell", GATES)
def test_truncating_at_the_whole_length_or_beyond_changes_no_bit(cell: str, steps: int) -> None:
    params, x, net = case(cell)
    for lengths in (None, LENGTHS):
        output, state, backward = truncated_recurrent(params, x, steps, lengths=lengths, **net)
        whole_output, whole_state, whole_backward = run_recurrent(params, x, lengths=lengths, **net)
        found, whole = backward(output, state), whole_backward(whole_output, whole_state)
        assert output.tobytes() == whole_output.tobytes()
        assert found[1].tobytes() == whole[1].tobytes()
        for name, grad in found[0].items():
            assert grad.tobytes() == whole[0][name].tobytes()


@pytest.mark.parametrize("steps", [1, 2, 3, 6])
@pytest.mark.parametrize("cell", GATES)
def test_the_state_is_carried_so_that_the_output_is_that_of_the_whole(
    cell: str, steps: int
) -> None:
    params, x, net = case(cell)
    for lengths in (None, LENGTHS):
        output, state, _ = truncated_recurrent(params, x, steps, lengths=lengths, **net)
        whole, whole_state, _ = run_recurrent(params, x, lengths=lengths, **net)
        np.testing.assert_allclose(output, whole, rtol=1e-13, atol=1e-15)
        for part, expected in zip(parts(state), parts(whole_state), strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-13, atol=1e-15)


def torch_truncated(
    params: Params,
    x: Array,
    steps: int,
    lengths: Array,
    d_output: Array,
    d_state: list[Array],
    net: dict[str, Any],
) -> tuple[Params, Array]:
    """Gradients by autograd, sequence by sequence, the state detached every `steps`."""
    grads, dx = {name: np.zeros_like(value) for name, value in params.items()}, np.zeros_like(x)
    for m, n in np.ndindex(*lengths.shape):
        module = TorchNetwork(Model(hidden_size=HIDDEN, **net)).recurrent
        module.load_state_dict({name: torch.tensor(value[m]) for name, value in params.items()})
        tx = torch.tensor(x[m, n], requires_grad=True)
        state, outputs = None, []
        for start in range(0, int(lengths[m, n]), steps):
            if state is not None:
                state = (
                    tuple(part.detach() for part in state)
                    if isinstance(state, tuple)
                    else state.detach()
                )
            output, state = module(tx[start : min(start + steps, int(lengths[m, n]))], state)
            outputs.append(output)
        output = torch.cat(outputs)
        score = (output * torch.tensor(d_output[m, n, : len(output)])).sum()
        for part, d in zip(state if isinstance(state, tuple) else [state], d_state, strict=True):
            score = score + (part * torch.tensor(d[m, :, n])).sum()
        score.backward()
        dx[m, n] = tx.grad.numpy()
        for name, own in module.named_parameters():
            grads[name][m] += own.grad.numpy()
    return grads, dx


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 6])
@pytest.mark.parametrize("cell", IN_TORCH)
def test_a_truncated_gradient_is_torchs_with_the_state_detached(
    cell: str, steps: int, ragged: bool
) -> None:
    """A sequence that ends in an earlier piece gets its last state's gradient there."""
    rng = np.random.default_rng(5)
    params, x, net = case(cell)
    output, state, backward = truncated_recurrent(
        params, x, steps, lengths=LENGTHS if ragged else None, **net
    )
    d_output, d_state = (
        rng.normal(size=output.shape),
        [rng.normal(size=part.shape) for part in parts(state)],
    )
    lengths = LENGTHS if ragged else np.full(LENGTHS.shape, STEPS)
    for chosen_output, chosen_state in [
        (d_output, d_state),
        (None, d_state),
        (d_output, None),
    ]:
        grads, dx, _ = backward(
            chosen_output, None if chosen_state is None else like(state, chosen_state)
        )
        expected, expected_dx = torch_truncated(
            params,
            x,
            steps,
            lengths,
            np.zeros_like(output) if chosen_output is None else chosen_output,
            [np.zeros_like(part) for part in d_state] if chosen_state is None else chosen_state,
            net,
        )
        largest = max(np.abs(grad).max() for grad in expected.values())
        for name, grad in grads.items():
            assert np.abs(grad - expected[name]).max() <= 1e-12 * largest, name
        assert np.abs(dx - expected_dx).max() <= 1e-12 * np.abs(expected_dx).max()


def test_a_truncated_gradient_differs_from_the_whole() -> None:
    params, x, net = case("gru")
    output, _, backward = truncated_recurrent(params, x, 3, **net)
    whole = run_recurrent(params, x, **net)[2](output)[0]
    assert relative_error(backward(output)[0]["weight_hh_l0"], whole["weight_hh_l0"]) > 1e-3


def test_a_net_that_reads_both_ways_cannot_be_truncated() -> None:
    model = Model(hidden_size=HIDDEN, bidirectional=True)
    params = initial_params(model, INPUTS, OUTPUTS, streams(), "float64")
    x = np.ones((MODELS, ROWS, STEPS, INPUTS))
    with pytest.raises(
        ConfigError, match=r"training.truncate is 6 of 7 steps; a bidirectional model cannot"
    ):
        network(params, x, model, truncate=STEPS - 1)
    assert (
        network(params, x, model, truncate=STEPS)[0].tobytes()
        == network(params, x, model)[0].tobytes()
    )
