"""The recurrent layers against torch, finite differences, complex steps and themselves."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import (
    complex_step_error,
    directional_error,
    every,
    like,
    parts,
    random_params,
    random_states,
    relative_error,
    torch_recurrent,
)

from rnn_core.errors import ArrayError, ConfigError
from rnn_core.nn import layers
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import (
    GATES,
    State,
    linear,
    prelu,
    recurrent,
    relu,
    run_recurrent,
    sigmoid,
    softmax,
    tanh,
)

IN_TORCH = ["rnn_tanh", "rnn_relu", "gru", "lstm"]
SMOOTH = ["rnn_tanh", "rnn_sigmoid", "gru", "lstm"]
RAGGED = {7: [3, 5, 1, 5, 2, 4, 1], 1: [3]}


class LargestErrors:
    """The largest error of each cell that the tests below saw, told at the end of the session."""

    def __init__(self) -> None:
        self.of = dict.fromkeys(GATES, 0.0)

    def see(self, cell: str, error: float) -> None:
        self.of[cell] = max(self.of[cell], error)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section(
            "largest error against torch, relative to the largest value of an array, float64"
        )
        for cell, error in self.of.items():
            terminalreporter.write_line(f"{cell:12} {error:.1e}")


@pytest.fixture(scope="session")
def largest_errors(request: pytest.FixtureRequest) -> LargestErrors:
    errors = LargestErrors()
    request.config.pluginmanager.register(errors)
    return errors


def streams(models: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, m]) for m in range(models)]


def problem(
    cell: str,
    *,
    seed: int = 0,
    models: int = 2,
    batch: int = 3,
    seq_len: int = 5,
    input_size: int = 3,
    hidden_size: int = 4,
    num_layers: int = 1,
    bidirectional: bool = False,
    bias: bool = True,
    dtype: str = "float64",
) -> tuple[Params, Array, dict[str, Array]]:
    """Random params, x and initial states."""
    rng = np.random.default_rng(seed)
    params = random_params(
        rng,
        cell,
        models=models,
        input_size=input_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        bidirectional=bidirectional,
        bias=bias,
        dtype=dtype,
    )
    x = rng.normal(size=(models, batch, seq_len, input_size)).astype(dtype)
    return (
        params,
        x,
        random_states(
            rng, cell, (models, (1 + bidirectional) * num_layers, batch, hidden_size), dtype
        ),
    )


def upstream(output: Array, state: State, seed: int = 1) -> tuple[Array, list[Array]]:
    """Random gradients of output and state."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=output.shape).astype(output.dtype),
        [rng.normal(size=part.shape).astype(part.dtype) for part in parts(state)],
    )


def results(params: Params, x: Array, **options: Any) -> dict[str, Array]:
    """Everything that `recurrent` computes, forward and backward, by name."""
    output, state, backward = recurrent(params, x, **options)
    d_output, d_state = upstream(
        output[:1], like(state, [part[:1] for part in parts(state)])
    )  # alike for every model
    d_output = np.broadcast_to(d_output, output.shape)
    d_parts = [
        np.broadcast_to(d, part.shape) for d, part in zip(d_state, parts(state), strict=True)
    ]
    grads, dx, d_initial = backward(d_output, like(state, d_parts))
    named = {f"state {i}": part for i, part in enumerate(parts(state))}
    named |= {f"d_initial {i}": part for i, part in enumerate(parts(d_initial))}
    return {"output": output, "dx": dx, **named, **grads}


def assert_same_bits(got: dict[str, Array], want: dict[str, Array]) -> None:
    assert got.keys() == want.keys()
    for name, value in got.items():
        assert value.dtype == want[name].dtype
        np.testing.assert_array_equal(value, want[name], err_msg=name)


# --- against torch --------------------------------------------------------------------------------


def error_to_torch(
    cell: str,
    *,
    num_layers: int,
    bidirectional: bool,
    lengths: Array | None,
    bias: bool,
    batch: int,
    models: int,
    seq_len: int = 5,
    input_size: int = 3,
    hidden_size: int = 4,
    seed: int = 0,
) -> float:
    """The largest relative error of outputs, states and gradients."""
    params, x, initial = problem(
        cell,
        seed=seed,
        models=models,
        batch=batch,
        seq_len=seq_len,
        input_size=input_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        bidirectional=bidirectional,
        bias=bias,
    )
    net: dict[str, Any] = {
        "cell": cell,
        "num_layers": num_layers,
        "bidirectional": bidirectional,
        "lengths": lengths,
    }
    output, state, backward = recurrent(params, x, **net, **initial)
    d_output, d_state = upstream(output, state, seed + 1)
    grads, dx, d_initial = backward(d_output, like(state, d_state))
    want = torch_recurrent(params, x, d_output, d_state, list(initial.values()), **net)
    assert list(grads) == list(params)
    pairs = [(output, want.output), (dx, want.dx), *zip(parts(state), want.state, strict=True)]
    pairs += [
        *zip(parts(d_initial), want.d_initial, strict=True),
        *((grads[name], want.grads[name]) for name in params),
    ]
    return max(relative_error(got, expected) for got, expected in pairs)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("cell", IN_TORCH)
def test_outputs_states_and_gradients_equal_those_of_torch(
    cell: str, num_layers: int, largest_errors: LargestErrors
) -> None:
    options = every(
        bidirectional=[False, True],
        ragged=[False, True],
        bias=[True, False],
        batch=[1, 7],
        models=[1, 3],
    )
    for option in options:
        lengths = np.array(RAGGED[option["batch"]]) if option.pop("ragged") else None
        error = error_to_torch(cell, num_layers=num_layers, lengths=lengths, **option)
        largest_errors.see(cell, error)
        assert error <= 1e-12, (option, lengths)


@pytest.mark.parametrize("cell", ["rnn_sigmoid", "rnn_prelu"])
def test_cells_that_torch_lacks_equal_an_autograd_loop(
    cell: str, largest_errors: LargestErrors
) -> None:
    for option in every(
        num_layers=[1, 2], bidirectional=[False, True], ragged=[False, True], bias=[True, False]
    ):
        lengths = np.array([3, 5, 1]) if option.pop("ragged") else None
        error = error_to_torch(cell, lengths=lengths, batch=3, models=2, **option)
        largest_errors.see(cell, error)
        assert error <= 1e-12, (option, lengths)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_is_drawn_equals_torch(data: st.DataObject, largest_errors: LargestErrors) -> None:
    size = st.integers(1, 6)
    models, batch, seq_len = data.draw(size), data.draw(size), data.draw(size)
    length = st.integers(1, seq_len)
    lengths = data.draw(
        st.one_of(
            st.none(),
            st.lists(length, min_size=batch, max_size=batch),
            st.lists(
                st.lists(length, min_size=batch, max_size=batch), min_size=models, max_size=models
            ),
        )
    )
    cell = data.draw(st.sampled_from(IN_TORCH))
    error = error_to_torch(
        cell,
        num_layers=data.draw(st.integers(1, 3)),
        bidirectional=data.draw(st.booleans()),
        lengths=None if lengths is None else np.array(lengths),
        bias=data.draw(st.booleans()),
        batch=batch,
        models=models,
        seq_len=seq_len,
        input_size=data.draw(size),
        hidden_size=data.draw(size),
        seed=data.draw(st.integers(0, 1000)),
    )
    largest_errors.see(cell, error)
    assert error <= 1e-12


def test_a_long_deep_lstm_equals_torch(largest_errors: LargestErrors) -> None:
    error = error_to_torch(
        "lstm",
        num_layers=3,
        bidirectional=True,
        lengths=None,
        bias=True,
        batch=4,
        models=1,
        seq_len=50,
        hidden_size=16,
    )
    largest_errors.see("lstm", error)
    assert error <= 1e-12


@pytest.mark.parametrize("cell", GATES)
def test_zero_is_the_initial_state_and_the_gradient_when_none_is_given(cell: str) -> None:
    params, x, initial = problem(cell, num_layers=2, bidirectional=True)
    net: dict[str, Any] = {"cell": cell, "num_layers": 2, "bidirectional": True}
    zeros = {name: np.zeros_like(state) for name, state in initial.items()}
    assert_same_bits(results(params, x, **net), results(params, x, **net, **zeros))

    output, state, backward = recurrent(params, x, **net, **initial)
    d_output, d_state = upstream(output, state)
    no_state = like(state, [np.zeros_like(d) for d in d_state])
    for some, same in [
        (backward(d_output), backward(d_output, no_state)),
        (
            backward(None, like(state, d_state)),
            backward(np.zeros_like(d_output), like(state, d_state)),
        ),
    ]:
        assert_same_bits(some[0], same[0])
        np.testing.assert_array_equal(some[1], same[1])
        for part, expected in zip(parts(some[2]), parts(same[2]), strict=True):
            np.testing.assert_array_equal(part, expected)


# --- against differences --------------------------------------------------------------------------


def recurrent_score(
    net: dict[str, Any],
    d_output: Array,
    d_state: Sequence[Array],
    run: Callable[..., Any] = recurrent,
) -> Callable[[dict[str, Array]], Any]:
    """⟨d_output, output⟩ + ⟨d_state, state⟩ as a function of every array that goes in."""

    def score(named: dict[str, Array]) -> Any:
        at = dict(named)
        x, initial = at.pop("x"), {name: at.pop(name) for name in ("h0", "c0") if name in at}
        output, state, _ = run(at, x, **net, **initial)
        return np.sum(output * d_output) + sum(
            np.sum(part * d) for part, d in zip(parts(state), d_state, strict=True)
        )

    return score


def scored_problem(
    cell: str, **net: Any
) -> tuple[Callable[..., Any], dict[str, Array], dict[str, Array]]:
    params, x, initial = problem(
        cell, num_layers=net["num_layers"], bidirectional=net["bidirectional"]
    )
    net = {"cell": cell, **net}
    output, state, backward = recurrent(params, x, **net, **initial)
    d_output, d_state = upstream(output, state)
    grads, dx, d_initial = backward(d_output, like(state, d_state))
    at = {**params, "x": x, **initial}
    gradients = {**grads, "x": dx, **dict(zip(initial, parts(d_initial), strict=True))}
    return lambda run: recurrent_score(net, d_output, d_state, run), at, gradients


@pytest.mark.parametrize("cell", GATES)
def test_gradients_equal_central_differences(cell: str) -> None:
    rng = np.random.default_rng(2)
    for option in every(
        num_layers=[1, 2],
        bidirectional=[False, True],
        lengths=[None, [5, 2, 4], [[1, 5, 3], [4, 4, 2]]],
    ):
        score, at, gradients = scored_problem(cell, **option)
        for _ in range(3):
            assert directional_error(score(recurrent), at, gradients, rng) < 1e-8, option


@pytest.mark.parametrize("cell", SMOOTH)
def test_gradients_equal_complex_steps(cell: str) -> None:
    rng = np.random.default_rng(2)
    for option in every(num_layers=[1, 2], bidirectional=[False, True], lengths=[None, [5, 2, 4]]):
        score, at, gradients = scored_problem(cell, **option)
        assert complex_step_error(score(run_recurrent), at, gradients, rng) < 1e-13, option


def test_gradients_of_a_composition_equal_differences_and_complex_steps() -> None:
    """Stack layers of different cells and widths, a tanh and a linear head on the last state."""
    rng = np.random.default_rng(3)
    lower, x, _ = problem("lstm", bidirectional=True)
    upper = random_params(rng, "gru", models=2, input_size=8, hidden_size=5)
    head = {"weight": rng.normal(size=(2, 2, 5)), "bias": rng.normal(size=(2, 2))}
    at = {f"lower.{n}": v for n, v in lower.items()} | {f"upper.{n}": v for n, v in upper.items()}
    at |= {f"head.{n}": v for n, v in head.items()} | {"x": x}
    dy = rng.normal(size=(2, 3, 2))

    def own(named: dict[str, Array], part: str) -> Params:
        return {n.removeprefix(f"{part}."): v for n, v in named.items() if n.startswith(f"{part}.")}

    def run(named: dict[str, Array]) -> tuple[Array, Callable[[], dict[str, Array]]]:
        middle, _, lower_backward = run_recurrent(
            own(named, "lower"), named["x"], cell="lstm", bidirectional=True
        )
        _, h_n, upper_backward = run_recurrent(own(named, "upper"), middle, cell="gru")
        assert isinstance(h_n, np.ndarray)
        squashed, tanh_backward = tanh(h_n[:, -1])
        y, head_backward = linear(own(named, "head"), squashed)

        def backward() -> dict[str, Array]:
            head_grads, d = head_backward(dy)
            upper_grads, d, _ = upper_backward(None, tanh_backward(d)[:, None])
            lower_grads, dx, _ = lower_backward(d)
            grads = {f"head.{n}": v for n, v in head_grads.items()} | {
                f"upper.{n}": v for n, v in upper_grads.items()
            }
            return {"x": dx} | grads | {f"lower.{n}": v for n, v in lower_grads.items()}

        return y, backward

    gradients = run(at)[1]()
    assert directional_error(lambda named: np.sum(run(named)[0] * dy), at, gradients, rng) < 1e-8
    assert complex_step_error(lambda named: np.sum(run(named)[0] * dy), at, gradients, rng) < 1e-13


def test_gradients_under_dropout_equal_central_differences() -> None:
    params, x, _ = problem("gru", num_layers=3)
    options: dict[str, Any] = {"cell": "gru", "num_layers": 3, "dropout": 0.4}
    output, state, backward = recurrent(params, x, **options, rng=streams(2))
    d_output, d_state = upstream(output, state)
    grads, dx, _ = backward(d_output, d_state[0])

    def score(named: dict[str, Array]) -> float:
        return float(recurrent_score({**options, "rng": streams(2)}, d_output, d_state)(named))

    assert (
        directional_error(score, {**params, "x": x}, {**grads, "x": dx}, np.random.default_rng(4))
        < 1e-8
    )


ACTIVATIONS: dict[str, Callable[[Array], Any]] = {
    "tanh": tanh,
    "relu": relu,
    "sigmoid": sigmoid,
    "softmax": softmax,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_equals_torch_and_differences(name: str) -> None:
    rng = np.random.default_rng(5)
    x, dy = rng.normal(size=(2, 2, 5, 3))
    tx = torch.tensor(x, requires_grad=True)
    ty = torch.softmax(tx, -1) if name == "softmax" else getattr(torch, name)(tx)
    ty.backward(torch.tensor(dy))
    y, backward = ACTIVATIONS[name](x)
    assert relative_error(y, ty.detach().numpy()) < 1e-15
    assert relative_error(backward(dy), tx.grad.numpy()) < 1e-15

    def score(at: Params) -> float:
        return float(np.sum(ACTIVATIONS[name](at["x"])[0] * dy))

    assert directional_error(score, {"x": x}, {"x": backward(dy)}, rng) < 1e-8


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_a_smooth_activation_equals_complex_steps(name: str) -> None:
    rng = np.random.default_rng(5)
    x, dy = rng.normal(size=(2, 5, 3))
    dx = ACTIVATIONS[name](x)[1](dy)
    score = lambda at: np.sum(ACTIVATIONS[name](at["x"])[0] * dy)  # noqa: E731
    assert complex_step_error(score, {"x": x}, {"x": dx}, rng) < 1e-15


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_prelu_equals_torch_for_each_model_and_differences(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(6)
    x, dy = rng.normal(size=(2, 3, 4, 2))
    x[0, 0, 0] = 0
    slope = rng.normal(size=shape)
    y, backward = prelu(x, slope)
    dx, dslope = backward(dy)
    for m in range(3):
        tx, ts = (
            torch.tensor(x[m], requires_grad=True),
            torch.tensor(slope[m].reshape(1), requires_grad=True),
        )
        ty = torch.nn.functional.prelu(tx, ts)
        ty.backward(torch.tensor(dy[m]))
        np.testing.assert_array_equal(y[m], ty.detach().numpy())
        np.testing.assert_array_equal(dx[m], tx.grad.numpy())
        np.testing.assert_allclose(dslope[m].reshape(1), ts.grad.numpy(), rtol=1e-14)
    x[0, 0, 0] = 1  # away from the kink
    y, backward = prelu(x, slope)
    dx, dslope = backward(dy)
    at = {"x": x, "slope": slope}
    assert (
        directional_error(
            lambda at: float(np.sum(prelu(at["x"], at["slope"])[0] * dy)),
            at,
            {"x": dx, "slope": dslope},
            rng,
        )
        < 1e-8
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_overflows_at_a_thousand(dtype: str) -> None:
    x = np.array([[-1000.0, 0.0, 1000.0], [-1000.0, -1000.0, -1000.0]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for activation in [*ACTIVATIONS.values(), lambda x: prelu(x, np.full(2, 0.25, dtype))]:
            y, backward = activation(x)
            dx = backward(np.ones_like(x))
            for array in (y, *(dx if isinstance(dx, tuple) else (dx,))):
                assert array.dtype == dtype
                assert np.isfinite(array).all()
        for cell in set(GATES) - {"rnn_relu", "rnn_prelu"}:
            params, inputs, _ = problem(cell, dtype=dtype, num_layers=2, bidirectional=True)
            for value in results(
                params, 1000 * inputs, cell=cell, num_layers=2, bidirectional=True
            ).values():
                assert np.isfinite(value).all()
    assert sigmoid(x)[0][0].tolist() == [0, 0.5, 1]
    assert softmax(x)[0].tolist() == [[0, 0, 1], [np.dtype(dtype).type(1) / 3] * 3]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("between", [(), (4,), (4, 5)])
def test_linear_equals_torch_differences_and_complex_steps(
    bias: bool, between: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(7)
    params = {"weight": rng.normal(size=(2, 2, 3))} | (
        {"bias": rng.normal(size=(2, 2))} if bias else {}
    )
    x, dy = rng.normal(size=(2, *between, 3)), rng.normal(size=(2, *between, 2))
    y, backward = linear(params, x)
    grads, dx = backward(dy)
    for m in range(2):
        leaves = {
            name: torch.tensor(value[m], requires_grad=True) for name, value in params.items()
        }
        tx = torch.tensor(x[m], requires_grad=True)
        ty = torch.nn.functional.linear(tx, leaves["weight"], leaves.get("bias"))
        ty.backward(torch.tensor(dy[m]))
        assert relative_error(y[m], ty.detach().numpy()) < 1e-14
        assert relative_error(dx[m], tx.grad.numpy()) < 1e-14
        for name, leaf in leaves.items():
            assert relative_error(grads[name][m], leaf.grad.numpy()) < 1e-14

    def score(at: dict[str, Array]) -> Any:
        return np.sum(linear({name: at[name] for name in params}, at["x"])[0] * dy)

    assert directional_error(score, {**params, "x": x}, {**grads, "x": dx}, rng) < 1e-8
    assert complex_step_error(score, {**params, "x": x}, {**grads, "x": dx}, rng) < 1e-14


# --- models, samples and padding do not mix -------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", GATES)
def test_a_model_in_a_stack_is_bit_equal_to_the_model_alone_in_any_order(
    cell: str, dtype: str
) -> None:
    models = 5
    for option in every(
        size=[(4, 3), (16, 1)], batch=[1, 33], ragged=[False, True], dropout=[0.0, 0.3]
    ):
        ragged, dropout = option.pop("ragged"), option.pop("dropout")
        option["hidden_size"], option["input_size"] = option.pop("size")
        params, x, initial = problem(
            cell, models=models, num_layers=2, bidirectional=True, dtype=dtype, **option
        )
        lengths = (
            np.random.default_rng(8).integers(1, 6, (models, option["batch"])) if ragged else None
        )

        def run(chosen: Sequence[int]) -> dict[str, Array]:
            rows = list(chosen)
            return results(
                {name: value[rows] for name, value in params.items()},  # noqa: B023
                x[rows],  # noqa: B023
                cell=cell,
                num_layers=2,
                bidirectional=True,
                lengths=None if lengths is None else lengths[rows],  # noqa: B023
                dropout=dropout,  # noqa: B023
                rng=[streams(models)[m] for m in rows],
                **{name: state[rows] for name, state in initial.items()},  # noqa: B023
            )

        stack = run(range(models))
        shuffled = [3, 0, 4, 1, 2]
        assert_same_bits(run(shuffled), {name: value[shuffled] for name, value in stack.items()})
        assert all(value.dtype == dtype for value in stack.values())
        for m in range(models):
            assert_same_bits(run([m]), {name: value[[m]] for name, value in stack.items()})


def test_linear_and_softmax_of_a_model_in_a_stack_are_bit_equal_to_the_model_alone() -> None:
    rng = np.random.default_rng(9)
    for outputs in (1, 3):
        params = {
            "weight": rng.normal(size=(5, outputs, 16)),
            "bias": rng.normal(size=(5, outputs)),
        }
        x, dy = rng.normal(size=(5, 33, 16)), rng.normal(size=(5, 33, outputs))

        def run(rows: slice) -> dict[str, Array]:
            y, backward = linear({name: value[rows] for name, value in params.items()}, x[rows])  # noqa: B023
            grads, dx = backward(dy[rows])  # noqa: B023
            return {"y": y, "p": softmax(y)[0], "dx": dx, **grads}

        for m in range(5):
            row = slice(m, m + 1)
            assert_same_bits(
                run(row), {name: value[row] for name, value in run(slice(None)).items()}
            )


@pytest.mark.parametrize("cell", GATES)
def test_what_the_padding_holds_changes_no_bit(cell: str) -> None:
    params, x, initial = problem(cell, num_layers=2, bidirectional=True)
    lengths = np.array([[3, 5, 1], [2, 2, 4]])
    padding = np.arange(5) >= lengths[..., None]
    net: dict[str, Any] = {
        "cell": cell,
        "num_layers": 2,
        "bidirectional": True,
        "lengths": lengths,
        **initial,
    }

    def run(filler: float) -> dict[str, Array]:
        output, state, backward = recurrent(params, np.where(padding[..., None], filler, x), **net)
        d_output, d_state = upstream(output, state)
        grads, dx, d_initial = backward(
            np.where(padding[..., None], filler, d_output), like(state, d_state)
        )
        assert not output[padding].any()
        assert not dx[padding].any()
        return {
            "output": output,
            "dx": dx,
            **grads,
            **{str(i): d for i, d in enumerate(parts(d_initial))},
        }

    zero = run(0.0)
    assert all(np.isfinite(value).all() for value in zero.values())
    for filler in (np.nan, np.inf, 1e300):
        assert_same_bits(run(filler), zero)


@pytest.mark.parametrize("cell", GATES)
def test_a_sequence_cut_to_its_length_gives_what_the_padded_one_gives(cell: str) -> None:
    params, x, initial = problem(cell, models=1, num_layers=2, bidirectional=True)
    net: dict[str, Any] = {"cell": cell, "num_layers": 2, "bidirectional": True}
    lengths = [3, 5, 1]
    output, state, _ = recurrent(params, x, **net, lengths=lengths, **initial)
    for n, length in enumerate(lengths):
        alone, last, _ = recurrent(
            params,
            x[:, [n], :length],
            **net,
            **{name: part[:, :, [n]] for name, part in initial.items()},
        )
        np.testing.assert_allclose(output[:, [n], :length], alone, rtol=1e-13, atol=1e-15)
        for part, expected in zip(parts(state), parts(last), strict=True):
            np.testing.assert_allclose(part[:, :, [n]], expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("cell", GATES)
def test_the_gradient_of_a_batch_is_the_sum_of_those_of_its_samples(cell: str) -> None:
    params, x, initial = problem(cell, num_layers=2, bidirectional=True, batch=4)
    net: dict[str, Any] = {"cell": cell, "num_layers": 2, "bidirectional": True}
    output, state, backward = recurrent(params, x, **net, **initial)
    d_output, d_state = upstream(output, state)
    whole = backward(d_output, like(state, d_state))[0]
    total = {name: np.zeros_like(value) for name, value in params.items()}
    for n in range(4):
        _, _, one_backward = recurrent(
            params, x[:, [n]], **net, **{name: part[:, :, [n]] for name, part in initial.items()}
        )
        for name, grad in one_backward(
            d_output[:, [n]], like(state, [d[:, :, [n]] for d in d_state])
        )[0].items():
            total[name] += grad
    for name, grad in whole.items():
        assert relative_error(grad, total[name]) < 1e-13


# --- backward is a function -----------------------------------------------------------------------


@pytest.mark.parametrize("cell", GATES)
def test_backward_changes_nothing_and_gives_the_same_again(cell: str) -> None:
    params, x, initial = problem(cell, num_layers=2, bidirectional=True)
    kept = {name: value.copy() for name, value in {**params, "x": x, **initial}.items()}
    output, state, backward = recurrent(
        params,
        x,
        cell=cell,
        num_layers=2,
        bidirectional=True,
        lengths=[3, 5, 1],
        dropout=0.3,
        rng=streams(2),
        **initial,
    )
    d_output, d_state = upstream(output, state)
    d_kept = [d_output.copy(), *(d.copy() for d in d_state)]
    first = backward(d_output, like(state, d_state))
    for array in (output, *parts(state)):
        array[...] = np.nan  # the caller may do with the results what he likes
    for array in (*first[0].values(), first[1], *parts(first[2])):
        array += 1
    second = backward(d_output, like(state, d_state))
    assert_same_bits({name: value + 1 for name, value in second[0].items()}, first[0])
    np.testing.assert_array_equal(second[1] + 1, first[1])
    for part, before in zip(parts(second[2]), parts(first[2]), strict=True):
        np.testing.assert_array_equal(part + 1, before)
    assert_same_bits({**params, "x": x, **initial}, kept)
    for array, before in zip((d_output, *d_state), d_kept, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("bias", [True, False])
def test_no_two_gradients_share_memory(cell: str, bias: bool) -> None:
    params, x, _ = problem(cell, bias=bias)
    output, _, backward = recurrent(params, x, cell=cell)
    grads = list(backward(np.ones_like(output))[0].values())
    for i, one in enumerate(grads):
        assert one.flags.c_contiguous
        assert not any(np.may_share_memory(one, other) for other in grads[i + 1 :])


@pytest.mark.parametrize("cell", GATES)
def test_the_unchecked_function_computes_the_same_bits(cell: str) -> None:
    params, x, initial = problem(cell, num_layers=2, dtype="float32")
    options: dict[str, Any] = {
        "cell": cell,
        "num_layers": 2,
        "lengths": [3, 5, 1],
        "dropout": 0.3,
        **initial,
    }
    checked, _, _ = recurrent(params, x, **options, rng=streams(2))
    unchecked, _, _ = run_recurrent(params, x, **options, rng=streams(2))
    assert checked.dtype == unchecked.dtype == np.float32
    np.testing.assert_array_equal(checked, unchecked)


def test_a_slope_may_be_flat_or_a_column() -> None:
    params, x, _ = problem("rnn_prelu")
    column = results(params, x, cell="rnn_prelu")
    flat = results({**params, "slope_l0": params["slope_l0"][:, 0]}, x, cell="rnn_prelu")
    assert flat["slope_l0"].shape == (2,)
    assert_same_bits({**flat, "slope_l0": flat["slope_l0"][:, None]}, column)


# --- dropout --------------------------------------------------------------------------------------


def test_dropout_drops_a_share_p_and_keeps_the_expectation() -> None:
    x = np.ones((2, 400, 500))
    y, backward = layers.dropout(x, 0.3, streams(2))
    assert set(np.unique(y)) == {0.0, 1 / (1 - 0.3)}
    for m in range(2):
        assert abs((y[m] == 0).mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 200_000)
    np.testing.assert_array_equal(backward(x), y)
    assert (y[0] != y[1]).any()


def test_dropout_of_zero_draws_nothing_and_changes_nothing() -> None:
    rng = streams(1)
    before = rng[0].bit_generator.state
    x = np.ones((1, 3))
    y, backward = layers.dropout(x, 0.0, rng)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(backward(2 * x), 2 * x)
    assert rng[0].bit_generator.state == before


def test_both_precisions_see_one_mask() -> None:
    x = np.ones((2, 50))
    single, double = (
        layers.dropout(x.astype(dtype), 0.5, streams(2))[0] for dtype in ("float32", "float64")
    )
    np.testing.assert_array_equal(single, double)
    assert single.dtype == np.float32


@pytest.mark.parametrize("cell", IN_TORCH)
def test_a_single_layer_is_not_dropped_and_draws_nothing(cell: str) -> None:
    params, x, _ = problem(cell, bidirectional=True)
    rng = streams(2)
    dropped = results(params, x, cell=cell, bidirectional=True, dropout=0.9, rng=rng)
    assert_same_bits(dropped, results(params, x, cell=cell, bidirectional=True))
    assert [stream.bit_generator.state for stream in rng] == [
        stream.bit_generator.state for stream in streams(2)
    ]


@pytest.mark.parametrize("cell", IN_TORCH)
def test_dropout_stands_between_layers_only_as_a_chain_of_torch_layers_under_its_masks(
    cell: str,
) -> None:
    params, x, initial = problem(cell, num_layers=3, bidirectional=True)
    p = 0.4
    output, state, _ = recurrent(
        params, x, cell=cell, num_layers=3, bidirectional=True, dropout=p, rng=streams(2), **initial
    )
    y, masks = x, streams(2)
    for layer in range(3):
        if layer > 0:
            kept = [stream.random((5, 3, 8), np.float32).swapaxes(0, 1) >= p for stream in masks]
            assert 0 < np.mean(kept) < 1
            y = np.where(kept, y, 0) / (1 - p)
        own = {
            name.replace(f"l{layer}", "l0"): value
            for name, value in params.items()
            if f"l{layer}" in name
        }
        here = [part[:, 2 * layer : 2 * layer + 2] for part in initial.values()]
        want = torch_recurrent(
            own, y, np.zeros_like(output), here, here, cell=cell, bidirectional=True
        )
        for part, expected in zip(parts(state), want.state, strict=True):
            assert relative_error(part[:, 2 * layer : 2 * layer + 2], expected) < 1e-13
        y = want.output
    assert relative_error(output, y) < 1e-13


# --- bad input ------------------------------------------------------------------------------------

GOOD_PARAMS, GOOD_X, GOOD_STATES = problem("lstm", num_layers=2)
NAN_X = GOOD_X.copy()
NAN_X[1, 0, 0, 0] = np.nan
NAN_STATE = np.full_like(GOOD_STATES["h0"], np.nan)


def with_params(**changes: Array) -> dict[str, Any]:
    return {"params": {**GOOD_PARAMS, **changes}}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "x is an array": ({"x": [[1.0]]}, r"x is a list; a float32 or float64 array \(M, N, T, I\)"),
    "x is not integer": (
        {"x": np.ones(GOOD_X.shape, int)},
        r"x is a int64 array of shape \(2, 3, 5, 3\); a float32",
    ),
    "x is not half": ({"x": GOOD_X.astype(np.float16)}, "x is a float16 array"),
    "x has four axes": ({"x": GOOD_X[0]}, r"x has shape \(3, 5, 3\); \(M, N, T, I\)"),
    "x has steps": ({"x": GOOD_X[:, :, :0]}, r"x has shape \(2, 3, 0, 3\); .* at least 1"),
    "x has no NaN": ({"x": NAN_X}, r"x of shape \(2, 3, 5, 3\) has 1 NaN"),
    "x has no NaN in its valid part": (
        {"x": NAN_X, "lengths": [1, 5, 5]},
        "x of shape .* has 1 NaN",
    ),
    "x has the models of params": (
        {"x": GOOD_X[:1]},
        r"weight_ih_l0 has shape \(2, 16, 3\); .* = \(1, 16, 3\)",
    ),
    "x has the input size": (
        {"x": GOOD_X[..., :2]},
        r"weight_ih_l0 has shape \(2, 16, 3\); .* = \(2, 16, 2\)",
    ),
    "one dtype": (
        {"x": GOOD_X.astype(np.float32)},
        r"weight_ih_l0 of shape \(2, 16, 3\) is float64; float32",
    ),
    "weights are stacked": (
        with_params(weight_hh_l0=np.ones((16, 4))),
        r"weight_hh_l0 has shape \(16, 4\); \(M, G·H, H\)",
    ),
    "weights are square": (
        with_params(weight_hh_l1=np.ones((2, 16, 5))),
        r"weight_hh_l1 has shape \(2, 16, 5\)",
    ),
    "weights have the cell's gates": (
        {"cell": "gru"},
        r"weight_ih_l0 has shape \(2, 16, 3\); .* = \(2, 12, 3\)",
    ),
    "biases fit": (
        with_params(bias_ih_l1=np.ones((2, 15))),
        r"bias_ih_l1 has shape \(2, 15\); \(M, G·H\) = \(2, 16\)",
    ),
    "params are float": (
        with_params(bias_ih_l1=np.ones((2, 16), int)),
        "bias_ih_l1 is a int64 array",
    ),
    "params have no NaN": (
        with_params(bias_ih_l1=np.full((2, 16), np.nan)),
        r"bias_ih_l1 of shape \(2, 16\) has 32 NaN",
    ),
    "params are there": ({"params": {}}, "params lacks weight_hh_l0; it has nothing"),
    "params are all there": (
        {"params": {name: value for name, value in GOOD_PARAMS.items() if name != "bias_hh_l1"}},
        "missing bias_hh_l1, unexpected nothing",
    ),
    "no more params than wanted": (
        with_params(weight_hr_l0=np.ones(1)),
        "missing nothing, unexpected weight_hr_l0",
    ),
    "every layer is used": (
        {"num_layers": 1},
        "cell=lstm, num_layers=1, directions=1: missing nothing, unexpected weight_ih_l1, ",
    ),
    "every direction has params": ({"bidirectional": True}, "missing weight_ih_l0_reverse, "),
    "a slope for prelu": ({"cell": "rnn_prelu"}, "missing slope_l0, slope_l1"),
    "lengths are integer": (
        {"lengths": [1.0, 2.0, 3.0]},
        r"lengths is a float64 array of shape \(3,\); integers",
    ),
    "lengths are of the batch": (
        {"lengths": [1, 2]},
        r"lengths is a int64 array of shape \(2,\); .* \(N,\) = \(3,\) or",
    ),
    "lengths are at least one": (
        {"lengths": [1, 0, 5]},
        r"lengths of shape \(3,\) run from 0 to 5; 1 to T = 5",
    ),
    "lengths are within x": (
        {"lengths": [[1, 2, 6]] * 2},
        r"lengths of shape \(2, 3\) run from 1 to 6; 1 to T = 5",
    ),
    "h0 has its shape": (
        {"h0": np.ones((2, 1, 3, 4))},
        r"h0 has shape \(2, 1, 3, 4\); .* = \(2, 2, 3, 4\)",
    ),
    "c0 has its shape": (
        {"c0": np.ones((2, 2, 4))},
        r"c0 has shape \(2, 2, 4\); \(M, D·num_layers, N, H\)",
    ),
    "h0 has no NaN": ({"h0": NAN_STATE}, "h0 of shape .* has 48 NaN"),
    "h0 has the dtype": (
        {"h0": GOOD_STATES["h0"].astype(np.float32)},
        "h0 of shape .* is float32; float64",
    ),
    "dropout has streams": (
        {"dropout": 0.5},
        "rng is NoneType; dropout expects 2 distinct Generators",
    ),
    "one stream a model": (
        {"dropout": 0.5, "rng": streams(1)},
        "rng is 1 Generators; dropout expects 2",
    ),
    "a stream is not a sequence": (
        {"dropout": 0.5, "rng": streams(1)[0]},
        "rng is Generator; dropout expects 2",
    ),
    "streams are not shared": (
        {"dropout": 0.5, "rng": streams(1) * 2},
        "rng is 2 Generators; dropout expects 2 distinct",
    ),
}


@pytest.mark.parametrize("rule", BAD)
def test_bad_input_is_refused_by_name_and_shape(rule: str) -> None:
    changes, message = BAD[rule]
    with pytest.raises(ArrayError, match=message):
        recurrent(
            **{"params": GOOD_PARAMS, "x": GOOD_X, "cell": "lstm", "num_layers": 2, **changes}
        )


@pytest.mark.parametrize("cell", sorted(set(GATES) - {"lstm"}))
def test_only_an_lstm_takes_cell_states(cell: str) -> None:
    params, x, initial = problem(cell)
    with pytest.raises(
        ArrayError,
        match=rf"c0 of shape \(2, 1, 3, 4\) is given; only an lstm .* \(got cell={cell}\)",
    ):
        recurrent(params, x, cell=cell, c0=initial["h0"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            {"cell": "elman"},
            "cell is 'elman'; one of rnn_tanh, rnn_relu, rnn_sigmoid, rnn_prelu, gru, lstm",
        ),
        ({"num_layers": 0}, "num_layers is 0; at least 1"),
        ({"dropout": 1.0}, r"dropout is 1.0; a probability in \[0, 1\)"),
        ({"dropout": -0.1}, r"dropout is -0.1; a probability"),
        ({"dropout": float("nan")}, "dropout is nan"),
    ],
)
def test_an_option_out_of_range_is_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recurrent(
            **{
                "params": GOOD_PARAMS,
                "x": GOOD_X,
                "cell": "lstm",
                "num_layers": 2,
                "rng": streams(2),
                **option,
            }
        )


def test_dropout_alone_checks_what_it_is_given() -> None:
    with pytest.raises(ConfigError, match="dropout is 1"):
        layers.dropout(GOOD_X, 1, streams(2))
    with pytest.raises(ArrayError, match="rng is NoneType"):
        layers.dropout(GOOD_X, 0.5, None)


def test_a_gradient_of_another_shape_is_refused_not_broadcast() -> None:
    output, state, backward = recurrent(GOOD_PARAMS, GOOD_X, cell="lstm", num_layers=2)
    h_n, c_n = state
    for d_output, message in [
        (output[:1], r"d_output has shape \(1, 3, 5, 4\); \(M, N, T, D·H\) = \(2, 3, 5, 4\)"),
        (output[..., :1], "d_output has shape"),
        (output.astype(np.float32), "d_output of shape .* is float32; float64"),
        (1.0, "d_output is a float"),
    ]:
        with pytest.raises(ArrayError, match=message):
            backward(d_output)  # type: ignore[arg-type]
    for d_state, message in [
        (h_n, "d_state has 1 arrays; 2 are expected"),
        ((h_n, c_n, c_n), "d_state has 3 arrays; 2 are expected"),
        ((h_n[:, :1], c_n), r"d_state of h_n has shape \(2, 1, 3, 4\)"),
        ((h_n, c_n[..., :1]), r"d_state of c_n has shape \(2, 2, 3, 1\)"),
    ]:
        with pytest.raises(ArrayError, match=message):
            backward(output, d_state)  # type: ignore[arg-type]


def test_linear_refuses_what_does_not_fit() -> None:
    params = {"weight": np.ones((2, 4, 3)), "bias": np.ones((2, 4))}
    x = np.ones((2, 5, 3))
    for bad_params, bad_x, message in [
        (params, x[..., :2], r"x has shape \(2, 5, 2\) and weight \(2, 4, 3\)"),
        (params, x[:1], r"x has shape \(1, 5, 3\) and weight \(2, 4, 3\)"),
        (params, x[0, 0], r"x has shape \(3,\)"),
        (
            {**params, "weight": params["weight"][0]},
            x,
            r"weight \(4, 3\); \(M, ..., I\) and \(M, O, I\)",
        ),
        (
            {**params, "bias": params["bias"][:, :1]},
            x,
            r"bias has shape \(2, 1\); \(M, O\) = \(2, 4\)",
        ),
    ]:
        with pytest.raises(ArrayError, match=message):
            linear(bad_params, bad_x)
    _, backward = linear(params, x)
    with pytest.raises(ArrayError, match=r"dy has shape \(2, 5, 1\); \(2, 5, 4\) is expected"):
        backward(np.ones((2, 5, 1)))
