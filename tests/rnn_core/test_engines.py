"""Both engines: the same start, the same batches, the same losses; and a stack in which no model sees another."""

import numpy as np
import pytest
import torch

from rnn_core import engines
from rnn_core.arrays import Array, Params
from rnn_core.config import Cell, Model, Training
from rnn_core.engines import Engine, Inputs, Targets, numpy_engine
from rnn_core.engines.torch_engine import TorchEngine
from rnn_core.errors import ConfigError
from rnn_core.losses import binary_cross_entropy
from rnn_core.network import initial_params, network

ROWS, STEPS, FEATURES, BATCH = 40, 6, 2, 8
CELLS: tuple[Cell, ...] = ("rnn_tanh", "rnn_relu", "rnn_sigmoid", "rnn_prelu", "gru", "lstm")
DEEP = Model(cell="gru", hidden_size=4, num_layers=2, bidirectional=True, dropout=0.3)


def generators(models: int) -> list[np.random.Generator]:
    return [np.random.default_rng([7, m]) for m in range(models)]


def problem(models: int, dtype: str = "float64") -> tuple[Inputs, Targets]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, STEPS, FEATURES))
    y = (x[:, -1:, :1] + x[:, -2:-1, :1] > 0).astype(dtype)
    center, scale = rng.normal(size=(models, FEATURES)), rng.uniform(1, 2, (models, FEATURES))
    return Inputs(x.astype(dtype), center.astype(dtype), scale.astype(dtype)), Targets(y, np.ones((ROWS, 1), bool))


def started(name: str, model: Model, models: int = 3, pick: list[int] | None = None, **options: object) -> Engine:
    """An engine over `models` models, or over those of them that are picked."""
    training = Training.model_validate({"engine": name, "learning_rate": 0.05} | options)
    inputs, targets = problem(models, training.dtype)
    params = initial_params(model, FEATURES, 1, generators(models), training.dtype)
    chosen = list(range(models)) if pick is None else pick
    return engines.start(
        model,
        training,
        Inputs(inputs.x, inputs.center[chosen], inputs.scale[chosen]),
        targets,
        {name: value[chosen] for name, value in params.items()},
        [generators(models)[m] for m in chosen],
    )


def epochs_of_rows(models: int, epochs: int) -> list[Array]:
    shuffled = [[rng.permutation(ROWS) for rng in generators(models)] for _ in range(epochs)]
    return [np.stack(epoch).reshape(models, -1, BATCH) for epoch in shuffled]


def train(engine: Engine, rows: list[Array], rate: float = 0.05) -> list[Array]:
    return [engine.train_epoch(epoch, np.full(len(epoch), rate)) for epoch in rows]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_the_engines_give_the_same_losses_over_twenty_updates(cell: Cell, optimiser: str) -> None:
    model = Model(cell=cell, hidden_size=5)
    rows = epochs_of_rows(3, 4)  # of five updates each
    pair = [started(name, model, optimiser=optimiser) for name in ("numpy", "torch")]
    for here, there in zip(train(pair[0], rows), train(pair[1], rows), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-10)
    valid = np.tile(np.arange(ROWS), (3, 1))
    np.testing.assert_allclose(pair[0].loss(valid), pair[1].loss(valid), rtol=1e-10)
    for name, value in pair[0].params.items():
        np.testing.assert_allclose(value, pair[1].params[name], rtol=1e-8, atol=1e-10)


def test_the_engines_agree_on_a_deep_bidirectional_net_and_on_its_dropout() -> None:
    rows = epochs_of_rows(3, 4)
    here, there = (train(started(name, DEEP, clip_norm=0.1), rows) for name in ("numpy", "torch"))
    np.testing.assert_allclose(here, there, rtol=1e-10)
    without = train(started("numpy", DEEP.model_copy(update={"dropout": 0.0})), rows)
    assert np.abs(np.array(without) - np.array(here)).max() > 1e-3


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("num_layers", "bidirectional", "bias"), [(1, False, True), (2, True, True), (2, False, False)]
)
def test_the_gradient_of_the_whole_network_equals_autograd(
    cell: Cell, num_layers: int, bidirectional: bool, bias: bool
) -> None:
    model = Model(cell=cell, hidden_size=4, num_layers=num_layers, bidirectional=bidirectional, bias=bias)
    inputs, targets = problem(2)
    params = initial_params(model, FEATURES, 1, generators(2), "float64")
    rows = np.array([[3, 1, 4, -1], [5, 9, 2, 6]])
    y, mask = targets.batch(rows)
    logits, backward = network(params, inputs.batch(np.arange(2), rows)[0], model)
    grads = backward(binary_cross_entropy(logits, y, mask)[1])

    oracle = TorchEngine(model, Training(engine="torch"), inputs, targets, params, generators(2))
    flat = oracle._flat.clone().requires_grad_()
    oracle._loss(flat, rows, None)[0].sum().backward()
    expected: Params = {name: value.numpy() for name, value in oracle._unflatten(flat.grad).items()}
    largest = max(np.abs(value).max() for value in expected.values())
    assert grads.keys() == expected.keys()
    for name, value in grads.items():
        assert np.abs(value - expected[name]).max() <= 1e-12 * largest, name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("model", [Model(hidden_size=5), DEEP], ids=["plain", "deep"])
def test_a_model_learns_the_same_bits_alone_as_in_a_stack_in_any_order(model: Model, dtype: str) -> None:
    rows = epochs_of_rows(5, 2)
    stack = started("numpy", model, 5, dtype=dtype)
    losses = train(stack, rows)
    for pick in ([3], [4, 0, 2]):
        part = started("numpy", model, 5, pick=pick, dtype=dtype)
        part_losses = train(part, [epoch[pick] for epoch in rows])
        for name, value in part.params.items():
            assert value.tobytes() == stack.params[name][pick].tobytes(), name
        assert np.array(part_losses).tobytes() == np.array(losses)[:, pick].tobytes()


def test_neither_the_number_of_threads_nor_the_chunk_changes_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> bytes:
        engine = started("numpy", DEEP, 7)
        train(engine, epochs_of_rows(7, 2))
        return b"".join(value.tobytes() for value in engine.params.values())

    expected = trained()
    monkeypatch.setattr(numpy_engine, "CHUNK", 2)
    assert trained() == expected
    monkeypatch.setattr(numpy_engine.os, "sched_getaffinity", lambda _: {0})
    assert trained() == expected


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_padding_trains_nothing(name: str) -> None:
    rows = epochs_of_rows(2, 1)[0]
    padded = np.concatenate([rows, np.full((2, 3, BATCH), -1)], axis=1)
    padded[1] = -1
    plain, with_padding = started(name, Model(hidden_size=4), 2), started(name, Model(hidden_size=4), 2)
    untouched = with_padding.params
    expected, losses = train(plain, [rows])[0], train(with_padding, [padded])[0]
    assert losses[0] == pytest.approx(expected[0], rel=1e-12)
    assert np.isnan(losses[1])
    for key, value in with_padding.params.items():
        np.testing.assert_allclose(value[0], plain.params[key][0], rtol=1e-12)
        assert value[1].tobytes() == untouched[key][1].tobytes()


@pytest.mark.parametrize("rate", [1e307, np.inf])
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_model_that_turns_non_finite_is_frozen_named_and_left_out(name: str, rate: float) -> None:
    rows = epochs_of_rows(3, 2)
    model = Model(cell="rnn_relu", hidden_size=4)
    healthy, sick = started(name, model), started(name, model)
    train(healthy, rows)
    for epoch in rows:
        sick.train_epoch(epoch, np.array([0.05, rate, 0.05]))
    assert sick.frozen[[0, 2]].tolist() == [-1, -1]
    assert 0 <= sick.frozen[1] <= 9
    for key, value in sick.params.items():
        assert np.isfinite(value).all()
        assert value[[0, 2]].tobytes() == healthy.params[key][[0, 2]].tobytes()


def test_predictions_have_the_same_bits_alone_as_among_many() -> None:
    inputs, _ = problem(3)
    params = initial_params(DEEP, FEATURES, 1, generators(3), "float64")
    rows = np.tile(np.arange(ROWS), (3, 3))  # more than one batch
    many = numpy_engine.predict(DEEP, params, inputs, rows)
    for position in (0, 17, 63, 64, 3 * ROWS - 1):
        alone = numpy_engine.predict(DEEP, params, inputs, rows[:, [position]])
        assert alone.tobytes() == many[:, [position]].tobytes()


def test_an_engine_that_cannot_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"training\.device is cuda and torch finds no GPU"):
            started("torch", Model(), device="cuda")
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"training\.engine is torch, which is not installed"):
        started("torch", Model())
