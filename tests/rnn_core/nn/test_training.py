"""Fitting a stack: it learns what is there, from what was known, and repeats itself to the bit."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rnn_core.config import Evaluation, Model, Problem, Synthetic, Training
from rnn_core.data.folds import folds
from rnn_core.data.loading import load
from rnn_core.data.prices import Prices
from rnn_core.data.windows import Windows, windows
from rnn_core.errors import TrainingError
from rnn_core.evaluation.evaluation import evaluate
from rnn_core.nn import checkpoints
from rnn_core.nn import training as training_module
from rnn_core.nn.arrays import Array
from rnn_core.nn.engines import kernel
from rnn_core.nn.ensemble import call, ensemble, out_of_sample, predict
from rnn_core.nn.schedule import Schedule
from rnn_core.nn.sequences import Folds, Sequences, holdout
from rnn_core.nn.training import Checkpoint, Fit, fit

NOW = datetime(2024, 6, 1, tzinfo=UTC)
SHAPE = Evaluation(train_days=60, valid_days=20, test_days=15)
PROBLEM = Problem(seq_len=5, features=("return", "direction", "volatility"), volatility_window=5)
SMALL = Training(epochs=4, seeds=2, patience=2)
MODEL = Model(hidden_size=4)


def prepared(prices: Prices) -> tuple[Windows, Folds]:
    built = windows(PROBLEM, prices)
    return built, folds(SHAPE, built)


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load(Synthetic(days=180, seed=5), "TEST", NOW)


@pytest.fixture(scope="module")
def fitted(prices: Prices) -> Fit:
    return fit(MODEL, SMALL, *prepared(prices))


def test_it_learns_the_direction_that_is_there_to_learn() -> None:
    prices = load(Synthetic(days=1800, edge=0.10, seed=1), "TEST", NOW)
    assert prices.attainable_accuracy == pytest.approx(0.60)
    built = windows(Problem(), prices)
    walk = folds(Evaluation(), built)
    fitted = fit(Model(), Training(), built, walk)
    found = evaluate(
        built,
        walk,
        out_of_sample(fitted, built, walk),
        Evaluation(),
        shrinkage=fitted.training.shrinkage,
    )
    assert len(found.calls) >= 1100
    assert found.scores["test/accuracy"] >= 0.56
    assert found.scores["test/log_loss"] < np.log(2)


def test_the_same_configuration_and_data_give_the_same_bits(prices: Prices, fitted: Fit) -> None:
    again = fit(MODEL, SMALL, *prepared(prices))
    assert all(
        value.tobytes() == again.params[name].tobytes() for name, value in fitted.params.items()
    )
    other = fit(MODEL, replace(SMALL, seed=1), *prepared(prices))
    assert all(
        value.tobytes() != other.params[name].tobytes() for name, value in fitted.params.items()
    )


def test_every_model_starts_elsewhere(prices: Prices, fitted: Fit) -> None:
    first = fitted.params["weight_hh_l0"].reshape(len(fitted), -1)
    assert len(np.unique(first, axis=0)) == len(fitted)


def test_the_parameters_kept_are_those_of_the_best_epoch(prices: Prices) -> None:
    built, walk = prepared(prices)
    fitted = fit(MODEL, replace(SMALL, learning_rate=0.1, epochs=12), built, walk)
    best = np.nanargmin(fitted.valid_loss, axis=1)
    assert (best < np.isfinite(fitted.valid_loss).sum(axis=1) - 1).any(), (
        "no model went past its best"
    )
    logits = predict(fitted, built.x, walk.valid.repeat(SMALL.seeds, axis=0))[..., 0, 0]
    y = built.y[walk.valid.repeat(SMALL.seeds, axis=0), 0, 0]
    losses = (np.logaddexp(0, logits) - y * logits).mean(axis=1)
    np.testing.assert_allclose(losses, np.nanmin(fitted.valid_loss, axis=1), rtol=1e-9)


def test_a_model_stops_when_its_validation_loss_has_not_improved_for_long_enough(
    prices: Prices,
) -> None:
    patient = replace(SMALL, epochs=30, patience=3, learning_rate=0.05)
    fitted = fit(MODEL, patient, *prepared(prices))
    run = np.isfinite(fitted.valid_loss).sum(axis=1)
    best = np.nanargmin(fitted.valid_loss, axis=1)
    np.testing.assert_array_equal(run, np.minimum(best + 1 + 3, 30))
    train, valid = fitted.losses
    assert len(train) == len(valid) == run.max()
    assert train[0] == pytest.approx(fitted.train_loss[:, 0].mean())
    last = [loss[count - 1] for loss, count in zip(fitted.valid_loss, run, strict=True)]
    assert valid[-1] == pytest.approx(np.mean(last))


@pytest.mark.parametrize("models", [1, 7, 200])
def test_the_mean_losses_are_those_of_a_forward_fill_in_pandas_bit_for_bit(
    models: int, fitted: Fit
) -> None:
    rng = np.random.default_rng(models)
    train_loss = rng.random((models, 30))
    for row, stop in zip(train_loss, rng.integers(1, 26, models), strict=True):
        row[stop:] = np.nan
    valid_loss = np.where(np.isnan(train_loss), np.nan, rng.random((models, 30)))
    frozen = np.where(rng.random(models) < 0.2, 5, -1)
    frozen[0] = -1
    many = replace(
        fitted,
        center=np.zeros((models, 3)),
        frozen=frozen,
        train_loss=train_loss,
        valid_loss=valid_loss,
    )
    usable = frozen < 0
    epochs = np.isfinite(train_loss[usable]).sum(axis=1).max()
    for loss, means in zip((train_loss, valid_loss), many.losses, strict=True):
        filled = pd.DataFrame(loss[usable, :epochs]).ffill(axis=1)
        assert means.tobytes() == filled.mean().to_numpy().tobytes()
    unvalidated = replace(many, valid_loss=np.full_like(valid_loss, np.nan))
    assert np.isnan(unvalidated.losses[1]).all()


def test_the_scaler_sees_the_training_rows_alone(prices: Prices, fitted: Fit) -> None:
    built, walk = prepared(prices)
    for fold, rows in enumerate(walk.train):
        seen = built.x[rows[rows >= 0]].reshape(-1, 3)
        for model in range(fold * 2, fold * 2 + 2):
            np.testing.assert_allclose(fitted.center[model], seen.mean(axis=0), rtol=1e-12)
            np.testing.assert_allclose(fitted.scale[model], seen.std(axis=0), rtol=1e-12)


def test_the_live_call_is_that_of_the_last_fold_bit_for_bit(prices: Prices, fitted: Fit) -> None:
    built, _ = prepared(prices)
    probability, spread = call(fitted.live, built.x[[built.live]])
    every = predict(fitted, built.x, np.full((len(fitted), 1), built.live))[-2:, 0, 0, 0]
    each = 1 / (1 + np.exp(-every))
    drawn = each.mean() + SMALL.shrinkage * (fitted.base_rate[-1] - each.mean())
    assert probability == pytest.approx(drawn, rel=1e-14)
    assert spread == pytest.approx(each.std(), rel=1e-12)


def test_a_frozen_model_is_left_out_and_a_fold_without_models_is_an_error(
    prices: Prices, fitted: Fit
) -> None:
    built, walk = prepared(prices)
    frozen = fitted.frozen.copy()
    frozen[1] = 5
    logits = out_of_sample(replace(fitted, frozen=frozen), built, walk)
    assert np.isnan(logits[1]).all()
    probability, spread = ensemble(logits[:2, :, 0, 0].T, fitted.base_rate[:1], 0.0)
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logits[0, :, 0, 0])))
    assert not spread.any()
    exploding = Training(epochs=9, seeds=2, optimiser="sgd", learning_rate=10, clip_norm=None)
    deep = Model(cell="rnn_relu", hidden_size=16, num_layers=6)
    with pytest.raises(
        TrainingError,
        match=r"every model of fold \d.* turned non-finite, the first after \d+ updates",
    ):
        fit(deep, exploding, built, walk)


def test_a_fit_names_the_models_it_lost_and_what_computed_it(fitted: Fit) -> None:
    assert fitted.lost == []
    assert replace(fitted, frozen=np.array([-1, 0, 7, -1])).lost == [1, 2]
    assert replace(fitted, kernel=True).engine == "numpy, compiled kernel"
    assert replace(fitted, kernel=False).engine == "numpy"
    in_torch = replace(fitted.training, engine="torch")
    assert replace(fitted, kernel=False, training=in_torch).engine == "torch"


def test_on_epoch_is_called_after_every_epoch(prices: Prices) -> None:
    heard: list[int] = []
    fitted = fit(
        MODEL, SMALL, *prepared(prices), on_epoch=lambda epoch, train, valid: heard.append(epoch)
    )
    assert heard == list(range(1, len(fitted.losses[0]) + 1))


# --- sequences, and going on where a training was stopped -----------------------------------------


def sequences(readout: str, loss: str, filler: float = np.nan) -> Sequences:
    """Make 40 sequences of up to 6 steps to learn from; `filler` is beyond the end."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(2, 7, 40)
    padding = np.arange(6) >= lengths[:, None]
    x = np.where(padding[..., None], 0, rng.normal(2, 3, (40, 6, 2)))
    y = np.cumsum(x - 2, axis=1) if readout == "steps" else (x - 2).mean(axis=1, keepdims=True)
    mask = ~padding if readout == "steps" else np.ones((40, 1), bool)
    targets = {
        "mean_squared_error": y / y.std(),
        "binary_cross_entropy": (y > 0).astype(float),
        "cross_entropy": np.eye(2)[y.argmax(axis=-1)],
    }[loss]
    targets[~mask] = filler
    x[padding] = filler
    return Sequences(x, targets, mask, lengths=lengths, loss=loss)


@pytest.mark.parametrize("loss", ["mean_squared_error", "binary_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize("readout", ["last", "steps"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_sequences_of_any_length_are_learnt_whatever_their_padding_holds(
    engine: str, readout: str, loss: str
) -> None:
    model = Model(cell="gru", hidden_size=8, readout=readout, bidirectional=True)
    training = Training(engine=engine, epochs=40, patience=40, seeds=2, learning_rate=0.03)
    built = sequences(readout, loss)
    fitted = fit(model, training, built, holdout(32, 8, 0))
    assert fitted.train_loss[:, 0].min() > 0.4
    assert fitted.train_loss[:, -1].max() < 0.2 * fitted.train_loss[:, 0].min()
    steps = np.concatenate(
        [x[:length] for x, length in zip(built.x[:32], built.lengths, strict=False)]
    )
    np.testing.assert_allclose(fitted.center, np.tile(steps.mean(axis=0), (2, 1)), rtol=1e-12)
    np.testing.assert_allclose(fitted.scale, np.tile(steps.std(axis=0), (2, 1)), rtol=1e-12)

    rows = np.tile(np.arange(40), (2, 1))
    logits = predict(fitted, built.x, rows, built.lengths)
    assert logits.shape == (2, 40, 6 if readout == "steps" else 1, 2)
    other_built = sequences(readout, loss, filler=1e6)
    other = fit(model, training, other_built, holdout(32, 8, 0))
    assert other.train_loss.tobytes() == fitted.train_loss.tobytes()
    for name, value in fitted.params.items():
        assert other.params[name].tobytes() == value.tobytes()
    assert predict(other, other_built.x, rows, built.lengths).tobytes() == logits.tobytes()


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_model_trains_at_the_rate_of_its_schedule(schedule: str) -> None:
    """At a rate near zero a model does not move: the loss of an epoch shows what the rate was."""
    built = sequences("last", "mean_squared_error")
    options = {
        "schedule": schedule,
        "plateau_factor": 1e-3,
        "plateau_patience": 0,
        "patience": 12,
        "epochs": 12,
    }
    given = Training(**options | {"seeds": 2, "learning_rate": 0.3, "batch_size": 8})
    rates: list[Array] = []
    own = Schedule(given, 2)

    def remember(epoch: int, train_loss: Array, valid_loss: Array) -> None:
        rates.append(own.rate(epoch - 1))
        own.observe(valid_loss)

    fitted = fit(MODEL, given, built, holdout(24, 8, 0), on_epoch=remember)
    change = np.abs(np.diff(fitted.valid_loss, axis=1))
    small = np.array(rates).T[:, 1:] < 1e-3
    assert schedule == "cosine" or (
        small.any() and change[small].max() < 0.01 * change[~small].max()
    )
    if schedule == "cosine":
        assert change[:, -1].max() < 0.2 * change[:, :6].max()


RESUMED = {
    "dropout and a plateau": (
        {"cell": "gru", "hidden_size": 4, "num_layers": 2, "dropout": 0.3},
        {"schedule": "plateau", "plateau_patience": 0, "patience": 3, "learning_rate": 0.1},
    ),
    "momentum and a cosine": (
        {"cell": "lstm", "hidden_size": 4},
        {"schedule": "cosine", "optimiser": "sgd", "momentum": 0.9, "learning_rate": 0.3},
    ),
    "single precision": (
        {"cell": "rnn_prelu", "hidden_size": 4},
        {"dtype": "float32", "optimiser": "adamw"},
    ),
}


def assert_the_names_of_the_file_format(checkpoint: Checkpoint, whole: Fit) -> None:
    """Trainings that an earlier version began are to be resumed."""
    assert checkpoint.streams.keys() == {"initial", "order", "dropout"}
    names = {f"best/{name}" for name in whole.params}
    names |= {f"history/{name}" for name in ("best_loss", "best_epoch", "train_loss", "valid_loss")}
    names |= {f"schedule/{name}" for name in ("rate", "lowest", "waited")}
    assert names == {name for name in checkpoint.arrays if not name.startswith("engine/")}
    assert {"engine/params", "engine/frozen", "engine/updates"} <= checkpoint.arrays.keys()


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("options", RESUMED.values(), ids=RESUMED)
def test_a_training_that_is_resumed_ends_with_the_bits_of_one_that_never_stopped(
    engine: str, options: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    model = Model(**options[0] | {"readout": "last"})
    training = Training(**{"engine": engine, "epochs": 7, "seeds": 3, "batch_size": 8} | options[1])
    built = sequences("last", "mean_squared_error")

    def keep(checkpoint: Checkpoint) -> None:
        checkpoints.save_checkpoint(checkpoint, tmp_path / f"{checkpoint.epoch}.npz")

    whole = fit(model, training, built, holdout(24, 16, 0), on_checkpoint=keep)
    epochs = len(whole.losses[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{epoch}.npz" for epoch in range(1, epochs + 1)
    ]
    assert_the_names_of_the_file_format(checkpoints.load_checkpoint(tmp_path / "1.npz"), whole)
    if training.schedule == "plateau":
        assert len(set(np.isfinite(whole.valid_loss).sum(axis=1))) > 1, "some stop before others"
    for epoch in range(1, epochs + 1):
        heard: list[int] = []
        checkpoint = checkpoints.load_checkpoint(tmp_path / f"{epoch}.npz")
        other = fit(
            model,
            training,
            built,
            holdout(24, 16, 0),
            resume=checkpoint,
            on_epoch=lambda epoch, train, valid: heard.append(epoch),  # noqa: B023
        )
        assert heard == list(range(epoch + 1, epochs + 1))
        for name in ("train_loss", "valid_loss", "center", "frozen"):
            assert getattr(other, name).tobytes() == getattr(whole, name).tobytes(), (epoch, name)
        for name, value in whole.params.items():
            assert other.params[name].tobytes() == value.tobytes(), (epoch, name)


def test_given_parameters_replace_those_that_are_drawn(prices: Prices, fitted: Fit) -> None:
    built, walk = prepared(prices)
    again = fit(MODEL, replace(SMALL, learning_rate=1e-12), built, walk, params0=fitted.params)
    for name, value in fitted.params.items():
        np.testing.assert_allclose(again.params[name], value, atol=1e-9)


def test_without_patience_every_epoch_is_trained_and_the_last_is_kept(prices: Prices) -> None:
    built, _ = prepared(prices)
    walk = holdout(100, 0, 30)
    on = replace(SMALL, patience=None, epochs=6)
    whole = fit(MODEL, on, built, walk)
    assert np.isfinite(whole.train_loss).all()
    assert np.isnan(whole.valid_loss).all()
    half = fit(MODEL, replace(on, epochs=3), built, walk)
    np.testing.assert_array_equal(half.train_loss, whole.train_loss[:, :3])
    assert all((value != whole.params[name]).any() for name, value in half.params.items())
    np.testing.assert_array_equal(whole.losses[0], whole.train_loss.mean(axis=0))


def test_a_given_order_and_start_replace_what_is_drawn(prices: Prices) -> None:
    built, _ = prepared(prices)
    walk = holdout(100, 0, 30)
    drawn = fit(MODEL, replace(SMALL, patience=None), built, walk)
    model = replace(MODEL, cell="rnn_tanh")
    start = {name: np.full_like(value, 0.01) for name, value in drawn.params.items()}
    order = np.stack([np.tile(np.roll(np.arange(100), epoch), (2, 1)) for epoch in range(4)])
    given = {"params0": start, "order": order}
    one = fit(model, replace(SMALL, patience=None, seed=1), built, walk, **given)
    two = fit(model, replace(SMALL, patience=None, seed=2), built, walk, **given)
    other = fit(
        model, replace(SMALL, patience=None), built, walk, params0=start, order=order[:, :, ::-1]
    )
    for name, value in one.params.items():
        assert value.tobytes() == two.params[name].tobytes(), name
        np.testing.assert_array_equal(value[0], value[1])
        assert (value != other.params[name]).any(), name


def test_raw_inputs_are_taken_as_they_are(prices: Prices) -> None:
    built, _ = prepared(prices)
    raw = fit(MODEL, SMALL, replace(built, raw=True), holdout(100, 10, 30))
    assert not raw.center.any()
    assert (raw.scale == 1).all()


@pytest.mark.parametrize("epochs_of_a_call", [1, 3, 100])
@pytest.mark.parametrize("computed_by", ["kernel", "numpy", "torch"])
def test_epochs_that_are_trained_in_one_call_are_those_that_are_watched_one_by_one(
    computed_by: str, epochs_of_a_call: int, monkeypatch: pytest.MonkeyPatch, prices: Prices
) -> None:
    monkeypatch.setenv("RNNFLOW_KERNEL", "1" if computed_by == "kernel" else "0")
    engine = "torch" if computed_by == "torch" else "numpy"
    built, _ = prepared(prices)
    built = replace(built, loss="mean_squared_error")
    walk, model = holdout(50, 0, 30), replace(MODEL, cell="rnn_tanh")
    options = {
        "patience": None,
        "epochs": 7,
        "engine": engine,
        "seeds": 3,
        "schedule": "cosine",
        "batch_size": 8,
    }
    given = Training(**options | {"learning_rate": 0.1, "optimiser": "sgd", "clip_norm": None})
    start = {
        name: value.repeat(3, axis=0)
        for name, value in fit(model, replace(SMALL, patience=None), built, walk).params.items()
    }
    start = {name: np.ascontiguousarray(value[:3]) for name, value in start.items()}
    start["head.weight"][1] = 1e307  # is soon lost
    calls: list[int] = []
    watched = fit(model, given, built, walk, params0=start, on_epoch=lambda *_: calls.append(1))
    assert len(calls) == 7
    assert watched.kernel == (computed_by == "kernel" and kernel.library() is not None)
    assert watched.frozen[1] >= 0 > watched.frozen[[0, 2]].max()
    monkeypatch.setattr("rnn_core.nn.training.AHEAD", 3 * 50 * epochs_of_a_call)
    shapes: list[int] = []

    def remembered(rows: Array, batch_size: int) -> Array:
        shapes.append(rows.shape[1])
        return batches(rows, batch_size)

    batches = training_module._batches
    monkeypatch.setattr(training_module, "_batches", remembered)
    unwatched = fit(model, given, built, walk, params0=start)
    assert shapes == {1: [1] * 7, 3: [3, 3, 1], 100: [7]}[epochs_of_a_call]
    for name, value in watched.params.items():
        assert unwatched.params[name].tobytes() == value.tobytes(), name
    np.testing.assert_array_equal(unwatched.train_loss, watched.train_loss)
    np.testing.assert_array_equal(unwatched.frozen, watched.frozen)


def test_training_on_arrays_imports_neither_pandas_nor_scipy_nor_a_validator() -> None:
    program = """
import sys
import numpy as np
from rnn_core.nn.sequences import holdout
from rnn_core.nn.sequences import Sequences
from rnn_core.nn.settings import Model, Training
from rnn_core.nn.training import fit

x = np.random.default_rng(0).normal(size=(40, 3, 1))
sequences = Sequences(x, (x.sum(axis=1, keepdims=True) > 0).astype(float), np.ones((40, 1), bool))
fit(Model(), Training(epochs=2, patience=None), sequences, holdout(40, 0, 0))
imported = {name.partition(".")[0] for name in sys.modules}
print(*imported & {"numpy", "pandas", "pydantic", "scipy", "torch"})
"""
    for switch in "01":
        said = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"RNNFLOW_KERNEL": switch},
            check=True,
            capture_output=True,
            text=True,
        )
        assert said.stdout.split() == ["numpy"]
