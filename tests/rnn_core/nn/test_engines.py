"""Both engines: the same start, batches and losses; and a stack in which no model sees another."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from stacks import train_epoch

from rnn_core.config import Model, Training
from rnn_core.errors import ArrayError, ConfigError
from rnn_core.nn import engines, settings
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.engines import Engine, Inputs, Targets, kernel, numpy_engine, torch_engine
from rnn_core.nn.engines.torch_engine import TorchEngine
from rnn_core.nn.losses import LOSSES, LossName, binary_cross_entropy, class_count
from rnn_core.nn.network import initial_params, network
from rnn_core.nn.settings import Cell

ROWS, STEPS, FEATURES, BATCH = 40, 6, 2, 8
CELLS: tuple[Cell, ...] = ("rnn_tanh", "rnn_relu", "rnn_sigmoid", "rnn_prelu", "gru", "lstm")
ENGINES = ["numpy", "kernel", "torch"]
DEEP = Model(cell="gru", hidden_size=4, num_layers=2, bidirectional=True, dropout=0.3)


def generators(models: int) -> list[np.random.Generator]:
    return [np.random.default_rng([7, m]) for m in range(models)]


def problem(models: int, dtype: str = "float64") -> tuple[Inputs, Targets]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, STEPS, FEATURES))
    y = (x[:, -1:, :1] + x[:, -2:-1, :1] > 0).astype(dtype)
    center, scale = rng.normal(size=(models, FEATURES)), rng.uniform(1, 2, (models, FEATURES))
    return Inputs(x.astype(dtype), center.astype(dtype), scale.astype(dtype)), Targets(
        y, np.ones((ROWS, 1), bool)
    )


def trained_by(name: str, options: dict[str, Any]) -> Training:
    return Training(**{"engine": "torch" if name == "torch" else "numpy"} | options)


def start(name: str, *given: Any) -> Engine:
    """An engine by its name in `ENGINES`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNFLOW_KERNEL", "1" if name == "kernel" else "0")
        return engines.start(*given)


def started(
    name: str, model: Model, models: int = 3, pick: list[int] | None = None, **options: object
) -> Engine:
    """An engine over `models` models, or over those of them that are picked."""
    training = trained_by(name, {"learning_rate": 0.05} | options)
    inputs, targets = problem(models, training.dtype)
    params = initial_params(model, FEATURES, 1, generators(models), training.dtype)
    chosen = list(range(models)) if pick is None else pick
    return start(
        name,
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
    return [train_epoch(engine, epoch, np.full(len(epoch), rate)) for epoch in rows]


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
    without = train(started("numpy", replace(DEEP, dropout=0.0)), rows)
    assert np.abs(np.array(without) - np.array(here)).max() > 1e-3


def sequences(models: int, loss: LossName, readout: str, lengths: bool) -> tuple[Inputs, Targets]:
    """Make noisy echoes to learn, for any loss and readout; all beyond the lengths is NaN."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(ROWS, STEPS, FEATURES))
    valid = rng.integers(1, STEPS + 1, ROWS) if lengths else np.full(ROWS, STEPS)
    padding = np.arange(STEPS) >= valid[:, None]
    y = np.cumsum(x, axis=1) if readout == "steps" else x.sum(axis=1, keepdims=True)
    if loss in ("binary_cross_entropy", "textbook_cross_entropy", "brier"):
        y = (y > 0).astype(float)
    if loss == "cross_entropy":
        y = np.eye(FEATURES)[y.argmax(axis=-1)]
    mask = rng.random(y.shape[:2]) < 0.8
    if readout == "steps":
        mask &= ~padding
    y[~mask] = np.nan
    x[padding] = np.nan
    center, scale = rng.normal(size=(models, FEATURES)), rng.uniform(1, 2, (models, FEATURES))
    return Inputs(x, center, scale, valid if lengths else None), Targets(y, mask, loss)


PLAIN = {"loss": "binary_cross_entropy", "readout": "last", "lengths": False, "truncate": None}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "cross entropy": {"loss": "cross_entropy"},
    "squared error": {"loss": "mean_squared_error"},
    "class weights": {"class_weights": (0.3, 2.0)},
    "class weights of a softmax": {"loss": "cross_entropy", "class_weights": (0.3, 2.0)},
    "steps": {"readout": "steps"},
    "steps of a softmax": {
        "readout": "steps",
        "loss": "cross_entropy",
        "class_weights": (0.3, 2.0),
    },
    "tanh head": {"head": "tanh"},
    "lengths": {"lengths": True},
    "lengths and steps": {"lengths": True, "readout": "steps", "loss": "mean_squared_error"},
    "lengths, both ways": {"lengths": True, "bidirectional": True, "num_layers": 2},
    "steps, both ways": {
        "lengths": True,
        "bidirectional": True,
        "num_layers": 2,
        "readout": "steps",
        "head": "tanh",
    },
    "truncated": {"truncate": 2},
    "truncated steps": {"truncate": 4, "readout": "steps", "num_layers": 2},
    "truncated lengths": {"truncate": 2, "lengths": True, "num_layers": 2},
    "truncated with dropout": {"truncate": 2, "num_layers": 3, "dropout": 0.3, "readout": "steps"},
    "truncated beyond the end": {"truncate": STEPS, "bidirectional": True},
    "clipped by value": {"clip_value": 0.02, "clip_norm": None},
    "momentum": {"optimiser": "sgd", "momentum": 0.9},
    "weight decay": {"optimiser": "sgd", "weight_decay": 0.1},
    "weight decay of adamw": {"optimiser": "adamw", "weight_decay": 0.1},
}


def engine_of(name: str, cell: Cell, options: dict[str, Any], models: int = 3) -> Engine:
    """Make an engine over `sequences`; `options` are of problem, model and training."""
    given = PLAIN | options
    inputs, targets = sequences(models, given["loss"], given["readout"], given["lengths"])
    model = Model(**{"cell": cell, "hidden_size": 4} | chosen(Model, given))
    training = trained_by(name, chosen(Training, given))
    weights = None if training.class_weights is None else np.array(training.class_weights)
    params = initial_params(model, FEATURES, FEATURES, generators(models), "float64")
    weighted = replace(targets, class_weights=weights)
    return start(name, model, training, inputs, weighted, params, generators(models))


@pytest.mark.parametrize(
    "options", [{}, {"readout": "steps", "bidirectional": True}, {"num_layers": 2, "dropout": 0.5}]
)
@pytest.mark.parametrize("lengths", [None, np.arange(ROWS) % STEPS + 1], ids=["whole", "lengths"])
def test_micro_batches_add_up_to_the_batch_on_any_number_of_threads(
    options: dict[str, Any], lengths: Array | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, training = (
        Model(cell="gru", hidden_size=4, **options),
        Training(optimiser="sgd", clip_norm=None),
    )
    inputs, _ = problem(1)
    steps = STEPS if model.readout == "steps" else 1
    rng = np.random.default_rng(2)
    targets = Targets(rng.random((ROWS, steps, 1)).round(), rng.random((ROWS, steps)) < 0.7)

    def trained(rows: int, threads: int) -> tuple[Array, Params]:
        monkeypatch.setattr(numpy_engine, "MICRO_BATCH", rows)
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        params = initial_params(model, FEATURES, 1, generators(1), "float64")
        engine = start(
            "numpy",
            model,
            training,
            replace(inputs, lengths=lengths),
            targets,
            params,
            generators(1),
        )
        return train_epoch(
            engine, np.arange(ROWS).reshape(1, 1, ROWS), np.array([0.1])
        ), engine.params

    whole, one, many = trained(ROWS, 1), trained(7, 1), trained(7, 3)
    np.testing.assert_allclose(one[0], whole[0], rtol=1e-12)
    np.testing.assert_array_equal(one[0], many[0])
    for name in whole[1]:
        np.testing.assert_allclose(
            one[1][name], whole[1][name], rtol=1e-10, atol=1e-12, err_msg=name
        )
        np.testing.assert_array_equal(one[1][name], many[1][name], err_msg=name)


@pytest.mark.parametrize("name", ENGINES)
def test_a_model_without_rows_has_no_loss_and_the_others_keep_theirs(name: str) -> None:
    engine = started(name, Model(hidden_size=5))
    every = np.tile(np.arange(ROWS), (3, 1))
    some = np.where(np.array([True, False, True])[:, None], every, -1)
    expected = engine.loss(every)
    np.testing.assert_array_equal(engine.loss(some), [expected[0], np.nan, expected[2]])


@pytest.mark.parametrize("name", ENGINES)
def test_no_model_with_rows_is_nothing_to_do(name: str) -> None:
    engine = started(name, Model(hidden_size=5))
    nothing = np.full((3, 1, BATCH), -1)
    assert np.isnan(train_epoch(engine, nothing, np.ones(3))).all()
    assert np.isnan(engine.loss(nothing[:, 0])).all()
    assert np.isnan(engine.loss(np.empty((3, 0), dtype=int))).all()


def test_a_micro_batch_that_overflows_freezes_its_model_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(numpy_engine, "MICRO_BATCH", 8)
    engine = started("numpy", Model(cell="rnn_relu"), 1, optimiser="sgd", clip_norm=None)
    for _ in range(5):
        train_epoch(engine, np.arange(ROWS).reshape(1, 1, ROWS), np.array([1e300]))
    assert engine.frozen.tolist() == [1]


def chosen(
    section: type[Model] | type[Training] | type[Targets], options: dict[str, Any]
) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in section.__dataclass_fields__}


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_engines_agree_over_twenty_updates_whatever_is_asked_for(
    cell: Cell, options: dict[str, Any]
) -> None:
    rows = epochs_of_rows(3, 4)  # of five updates each
    pair = [engine_of(name, cell, options) for name in ("numpy", "torch")]
    before = pair[0].params
    losses = [train(engine, rows) for engine in pair]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-10)
    valid = np.tile(np.arange(ROWS), (3, 1))
    np.testing.assert_allclose(pair[0].loss(valid), pair[1].loss(valid), rtol=1e-10)
    largest = max(np.abs(value).max() for value in pair[0].params.values())
    for name, value in pair[0].params.items():
        assert np.abs(value - pair[1].params[name]).max() <= 1e-10 * largest, name
        assert np.abs(value - before[name]).max() > 1e-4, name
    assert pair[0].frozen.tolist() == pair[1].frozen.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("readout", ["last", "steps"])
def test_a_batchs_gradient_is_the_average_of_its_samples(cell: Cell, readout: str) -> None:
    inputs, targets = sequences(2, "binary_cross_entropy", readout, lengths=True)
    model = Model(cell=cell, hidden_size=4, num_layers=2, bidirectional=True, readout=readout)
    params = initial_params(model, FEATURES, FEATURES, generators(2), "float64")

    def gradient(rows: Array) -> tuple[Params, Array]:
        y, mask = targets.batch(rows)
        x, lengths = inputs.batch(np.arange(2), rows)
        logits, backward = network(params, x, model, lengths=lengths)
        return backward(LOSSES["binary_cross_entropy"](logits, y, mask, None)[1]), mask.sum(
            axis=(1, 2)
        )

    rows = np.stack([rng.permutation(ROWS)[:BATCH] for rng in generators(2)])
    whole, scored = gradient(rows)
    total = {name: np.zeros_like(value) for name, value in params.items()}
    for sample in range(BATCH):
        grads, count = gradient(rows[:, [sample]])
        for name, grad in grads.items():
            total[name] += grad * (count / scored).reshape(-1, *[1] * (grad.ndim - 1))
    largest = max(np.abs(value).max() for value in whole.values())
    for name, value in whole.items():
        assert np.abs(value - total[name]).max() <= 1e-14 * largest, name


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_an_engine_goes_on_from_a_state_as_if_it_were_its_own(name: str, optimiser: str) -> None:
    rows = epochs_of_rows(3, 3)
    options = {"optimiser": optimiser, "momentum": 0.9} if optimiser == "sgd" else {}
    whole = engine_of(name, "gru", options)
    train(whole, rows[:1])
    state = whole.state
    kept = {part: value.copy() for part, value in state.items()}
    others = [engine_of(name, "gru", options) for _ in range(2)]
    losses = train(whole, rows[1:])
    for other in others:  # each has its own copy
        other.state = state
        assert other.state.keys() == state.keys()
        assert np.array(train(other, rows[1:])).tobytes() == np.array(losses).tobytes()
        for part, value in whole.state.items():
            assert other.state[part].tobytes() == value.tobytes(), part
            assert state[part].tobytes() == kept[part].tobytes(), part
    assert whole.state["updates"] == 15


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_counts_the_update_at_which_a_resumed_model_is_frozen(name: str) -> None:
    engine = engine_of(name, "rnn_relu", {})
    rows = epochs_of_rows(3, 2)
    train(engine, rows[:1])
    resumed = engine_of(name, "rnn_relu", {})
    resumed.state = engine.state
    train_epoch(resumed, rows[1], np.array([0.05, np.inf, 0.05]))
    assert resumed.frozen.tolist() == [-1, 5, -1]
    resumed.state = engine.state
    assert resumed.frozen.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"loss": "mean_squared_error", "class_weights": (1.0, 1.0)},
            r"mean_squared_error has 0 classes",
        ),
        (
            {"class_weights": (1.0, 1.0, 1.0)},
            r"class_weights have shape \(3,\); binary_cross_entropy has 2 classes",
        ),
        (
            {"loss": "cross_entropy", "class_weights": (1.0,)},
            r"class_weights have shape \(1,\); cross_entropy has 2",
        ),
    ],
)
def test_class_weights_that_do_not_fit_are_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArrayError, match=message):
        train(engine_of(name, "gru", options), epochs_of_rows(3, 1))


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("loss", LOSSES)
def test_targets_of_another_shape_than_the_readouts_are_refused_not_broadcast(
    name: str, loss: LossName
) -> None:
    inputs, targets = sequences(2, loss, "steps", lengths=False)
    params = initial_params(Model(), FEATURES, FEATURES, generators(2), "float64")
    engine = start(name, Model(), trained_by(name, {}), inputs, targets, params, generators(2))
    message = r"targets \(.*2, 8, 6, 2\) and mask \(.*2, 8, 6\) do not fit logits \(.*2, 8, 1, 2\)"
    with pytest.raises(ArrayError, match=message):
        train(engine, epochs_of_rows(2, 1))


@pytest.mark.parametrize("name", ENGINES)
def test_a_net_that_reads_both_ways_cannot_be_truncated(name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"training\.truncate is 2 of 6 steps; a bidirectional model cannot"
    ):
        train(engine_of(name, "gru", {"truncate": 2, "bidirectional": True}), epochs_of_rows(3, 1))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("num_layers", "bidirectional", "bias"), [(1, False, True), (2, True, True), (2, False, False)]
)
def test_the_gradient_of_the_whole_network_equals_autograd(
    cell: Cell, num_layers: int, bidirectional: bool, bias: bool
) -> None:
    model = Model(
        cell=cell, hidden_size=4, num_layers=num_layers, bidirectional=bidirectional, bias=bias
    )
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
@pytest.mark.parametrize(
    "model",
    [Model(hidden_size=5), Model(cell="lstm", readout="last"), DEEP],
    ids=["plain", "lstm", "deep"],
)
def test_a_model_learns_the_same_bits_alone_as_in_a_stack_in_any_order(
    model: Model, dtype: str
) -> None:
    rows = epochs_of_rows(5, 2)
    stack = started("numpy", model, 5, dtype=dtype)
    losses = train(stack, rows)
    for pick in ([3], [4, 0, 2]):
        part = started("numpy", model, 5, pick=pick, dtype=dtype)
        part_losses = train(part, [epoch[pick] for epoch in rows])
        for name, value in part.params.items():
            assert value.tobytes() == stack.params[name][pick].tobytes(), name
        assert np.array(part_losses).tobytes() == np.array(losses)[:, pick].tobytes()


def test_neither_the_number_of_threads_nor_the_chunk_changes_a_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trained() -> bytes:
        engine = started("numpy", DEEP, 7)
        train(engine, epochs_of_rows(7, 2))
        return b"".join(value.tobytes() for value in engine.params.values())

    expected = trained()
    monkeypatch.setattr(numpy_engine, "CHUNK", 2)
    assert trained() == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert trained() == expected


def test_as_many_threads_as_are_asked_for_else_one_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked, threads in {"3": 3, "4,2": 4}.items():
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert engines.thread_count() == threads
    monkeypatch.setattr(engines.os, "sched_getaffinity", lambda _: {0, 1, 2, 5, 7})
    for nothing in ("", "0", "-2", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nothing)
        assert engines.thread_count() == 5
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert engines.thread_count() == 5
    monkeypatch.delattr(engines.os, "sched_getaffinity")  # macOS has none
    monkeypatch.setattr(engines.os, "cpu_count", lambda: 6)
    assert engines.thread_count() == 6


@pytest.mark.parametrize("name", ENGINES)
def test_padding_trains_nothing(name: str) -> None:
    rows = epochs_of_rows(2, 1)[0]
    padded = np.concatenate([rows, np.full((2, 3, BATCH), -1)], axis=1)
    padded[1] = -1
    plain, with_padding = (
        started(name, Model(hidden_size=4), 2),
        started(name, Model(hidden_size=4), 2),
    )
    untouched = with_padding.params
    expected, losses = train(plain, [rows])[0], train(with_padding, [padded])[0]
    assert losses[0] == pytest.approx(expected[0], rel=1e-12)
    assert np.isnan(losses[1])
    for key, value in with_padding.params.items():
        np.testing.assert_allclose(value[0], plain.params[key][0], rtol=1e-12)
        assert value[1].tobytes() == untouched[key][1].tobytes()


@pytest.mark.parametrize("rate", [1e307, np.inf])
@pytest.mark.parametrize("name", ENGINES)
def test_a_model_that_turns_non_finite_is_frozen_named_and_left_out(name: str, rate: float) -> None:
    rows = epochs_of_rows(3, 2)
    model = Model(cell="rnn_relu", hidden_size=4)
    healthy, sick = started(name, model), started(name, model)
    train(healthy, rows)
    for epoch in rows:
        train_epoch(sick, epoch, np.array([0.05, rate, 0.05]))
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


RULES: tuple[str, ...] = get_args(get_type_hints(Training)["optimiser"])
LEFT_TO_NUMPY: set[str] = set()  # not compiled, on purpose
NAMES = {"Cell": get_args(Cell), "Loss": tuple(LOSSES), "Rule": RULES}
CODES = {"Cell": kernel.CELL_CODES, "Loss": kernel.LOSS_CODES, "Rule": kernel.RULE_CODES}


@pytest.mark.parametrize("kind", NAMES)
def test_the_kernel_has_a_code_for_every_name_that_is_not_left_to_numpy(kind: str) -> None:
    assert set(CODES[kind]) == set(NAMES[kind]) - LEFT_TO_NUMPY


@pytest.mark.parametrize("kind", CODES)
def test_the_codes_are_those_of_the_enumerations_in_c(kind: str) -> None:
    source = Path(kernel.__file__).with_name("kernel.c").read_text(encoding="utf-8")
    (enumeration,) = re.findall(rf"enum {kind} {{(.*?)}};", source, re.DOTALL)
    numbers = {
        name.lower(): int(number) for name, number in re.findall(r"(\w+) = (\d+)", enumeration)
    }
    assert CODES[kind] == numbers


def test_every_name_is_known_to_the_torch_engine() -> None:
    assert set(torch_engine.STEPS) == set(get_args(Cell))
    assert set(torch_engine.LOSSES) == set(LOSSES)
    assert set(torch_engine.RULES) == set(RULES)


def test_every_loss_says_how_many_classes_it_has() -> None:
    assert {loss: class_count(loss, 7) for loss in LOSSES} == {
        "binary_cross_entropy": 2,
        "textbook_cross_entropy": 2,
        "brier": 2,
        "cross_entropy": 7,
        "mean_squared_error": 0,
    }


def trained_with(name: str, kind: str, value: str) -> tuple[Array, Array]:
    """Losses and parameters after two epochs that differ from a plain training in one name."""
    options = {
        "Cell": {},
        "Loss": {"loss": value},
        "Rule": {"optimiser": value, "weight_decay": 0.1},
    }[kind]
    cell: Any = value if kind == "Cell" else "rnn_tanh"
    engine = engine_of(name, cell, options)
    losses = np.array(train(engine, epochs_of_rows(3, 2)))
    return losses, np.concatenate(
        [param.reshape(3, -1) for param in engine.params.values()], axis=1
    )


@pytest.mark.parametrize("kind", NAMES)
def test_the_engines_agree_on_every_name_and_take_none_for_another(kind: str) -> None:
    seen: dict[str, bytes] = {}
    for value in NAMES[kind]:
        losses, params = trained_with("numpy", kind, value)
        for name in ("kernel", "torch"):
            other_losses, other_params = trained_with(name, kind, value)
            np.testing.assert_allclose(other_losses, losses, rtol=1e-9, err_msg=f"{name}: {value}")
            np.testing.assert_allclose(
                other_params, params, rtol=1e-7, atol=1e-9, err_msg=f"{name}: {value}"
            )
        bits = losses.tobytes() + params.tobytes()
        assert bits not in seen.values(), f"{value} is trained as {list(seen)} are"
        seen[value] = bits


UNKNOWN = {"cell": {"cell": "rnn_new"}, "loss": {"loss": "new"}, "rule": {"optimiser": "new"}}


@pytest.mark.parametrize(("kind", "options"), UNKNOWN.items())
def test_the_kernel_leaves_a_name_that_it_does_not_know_to_numpy(
    kind: str, options: dict[str, Any]
) -> None:
    inputs, targets = problem(2)
    model = settings.Model(**chosen(Model, options))
    training = settings.Training(**chosen(Training, options))
    targets = replace(targets, **chosen(Targets, options))
    params = initial_params(Model(), FEATURES, 1, generators(2), "float64")
    (name,) = options.values()
    assert kernel.uncovered(model, training, inputs, targets, params) == f"{kind} {name}"


@pytest.mark.parametrize("options", UNKNOWN.values(), ids=UNKNOWN)
def test_torch_refuses_a_name_that_it_does_not_know(options: dict[str, Any]) -> None:
    inputs, targets = problem(2)
    model = settings.Model(**chosen(Model, options))
    training = settings.Training(engine="torch", **chosen(Training, options))
    targets = replace(targets, **chosen(Targets, options))
    params = initial_params(Model(), FEATURES, 1, generators(2), "float64")
    ((field, name),) = options.items()
    message = rf"\w+\.{field} is {name}; the torch engine has \w+, "
    with pytest.raises(ConfigError, match=message):
        TorchEngine(model, training, inputs, targets, params, generators(2))
