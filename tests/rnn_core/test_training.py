"""Fitting a stack: it learns what is there, from what was known, and repeats itself to the bit."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from rnn_core.config import Evaluation, Model, Problem, Synthetic, Training
from rnn_core.errors import TrainingError
from rnn_core.evaluation import evaluate
from rnn_core.folds import Folds, folds
from rnn_core.problems import Windows, windows
from rnn_core.sources import Prices, load
from rnn_core.training import Fit, call, ensemble, fit, predict

NOW = datetime(2024, 6, 1, tzinfo=UTC)
SHAPE = Evaluation(train_days=60, valid_days=20, test_days=15)
PROBLEM = Problem(seq_len=5, features=("return", "direction", "volatility"), volatility_window=5)
SMALL = Training(epochs=4, seeds=2, patience=2)
MODEL = Model(hidden_size=4)


def prepared(prices: Prices) -> tuple[Windows, Folds]:
    built = windows(PROBLEM, prices)
    return built, folds(SHAPE, built)


def out_of_sample(fitted: Fit, built: Windows, walk: Folds) -> np.ndarray:
    return predict(fitted, built.x, walk.test.repeat(fitted.training.seeds, axis=0))


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
    found = evaluate(built, walk, out_of_sample(fit(Model(), Training(), built, walk), built, walk))
    assert len(found.calls) >= 1100
    assert found.scores["test/accuracy"] >= 0.56
    assert found.scores["test/log_loss"] < np.log(2)


@pytest.mark.parametrize("fraction", [0.55, 0.8])
def test_changing_every_price_after_a_day_changes_no_bit_of_what_was_known_on_it(
    prices: Prices, fitted: Fit, fraction: float
) -> None:
    built, walk = prepared(prices)
    day = int(len(prices.frame) * fraction)
    frame = prices.frame.copy()
    frame.iloc[day + 1 :] *= np.linspace(2, 0.5, len(frame) - day - 1)[:, None]
    other_built, other_walk = prepared(replace(prices, frame=frame))
    other = fit(MODEL, SMALL, other_built, other_walk)

    last = int(np.flatnonzero(built.dates <= prices.frame.index[day])[-1])  # its inputs end on the day
    label_known = np.array([rows[rows >= 0].max() < last for rows in walk.valid]).repeat(SMALL.seeds)
    assert 2 <= label_known.sum() < len(fitted)
    assert built.x[: last + 1].tobytes() == other_built.x[: last + 1].tobytes()
    for name in ("center", "scale", "train_loss", "valid_loss"):
        assert getattr(fitted, name)[label_known].tobytes() == getattr(other, name)[label_known].tobytes(), name
    for name, value in fitted.params.items():
        assert value[label_known].tobytes() == other.params[name][label_known].tobytes(), name
    known = (walk.test.repeat(SMALL.seeds, axis=0) <= last) & label_known[:, None]
    assert known.sum() > 0
    assert (
        out_of_sample(fitted, built, walk)[known].tobytes()
        == out_of_sample(other, other_built, other_walk)[known].tobytes()
    )


def test_the_same_configuration_and_data_give_the_same_bits(prices: Prices, fitted: Fit) -> None:
    again = fit(MODEL, SMALL, *prepared(prices))
    assert all(value.tobytes() == again.params[name].tobytes() for name, value in fitted.params.items())
    other = fit(MODEL, SMALL.model_copy(update={"seed": 1}), *prepared(prices))
    assert all(value.tobytes() != other.params[name].tobytes() for name, value in fitted.params.items())


def test_every_model_starts_elsewhere(prices: Prices, fitted: Fit) -> None:
    first = fitted.params["weight_hh_l0"].reshape(len(fitted), -1)
    assert len(np.unique(first, axis=0)) == len(fitted)


def test_the_parameters_kept_are_those_of_the_best_epoch(prices: Prices) -> None:
    built, walk = prepared(prices)
    fitted = fit(MODEL, SMALL.model_copy(update={"learning_rate": 0.1, "epochs": 12}), built, walk)
    best = np.nanargmin(fitted.valid_loss, axis=1)
    assert (best < np.isfinite(fitted.valid_loss).sum(axis=1) - 1).any(), "no model went past its best"
    logits = predict(fitted, built.x, walk.valid.repeat(SMALL.seeds, axis=0))[..., 0, 0]
    y = built.y[walk.valid.repeat(SMALL.seeds, axis=0), 0, 0]
    losses = (np.logaddexp(0, logits) - y * logits).mean(axis=1)
    np.testing.assert_allclose(losses, np.nanmin(fitted.valid_loss, axis=1), rtol=1e-9)


def test_a_model_stops_when_its_validation_loss_has_not_improved_for_long_enough(prices: Prices) -> None:
    patient = SMALL.model_copy(update={"epochs": 30, "patience": 3, "learning_rate": 0.05})
    fitted = fit(MODEL, patient, *prepared(prices))
    run = np.isfinite(fitted.valid_loss).sum(axis=1)
    best = np.nanargmin(fitted.valid_loss, axis=1)
    np.testing.assert_array_equal(run, np.minimum(best + 1 + 3, 30))
    train, valid = fitted.losses
    assert len(train) == len(valid) == run.max()
    assert train[0] == pytest.approx(fitted.train_loss[:, 0].mean())
    last = [loss[count - 1] for loss, count in zip(fitted.valid_loss, run, strict=True)]
    assert valid[-1] == pytest.approx(np.mean(last))


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
    assert probability == pytest.approx(each.mean(), rel=1e-14)
    assert spread == pytest.approx(each.std(), rel=1e-12)


def test_a_frozen_model_is_left_out_and_a_fold_without_models_is_an_error(prices: Prices, fitted: Fit) -> None:
    built, walk = prepared(prices)
    frozen = fitted.frozen.copy()
    frozen[1] = 5
    logits = out_of_sample(replace(fitted, frozen=frozen), built, walk)
    assert np.isnan(logits[1]).all()
    probability, spread = ensemble(logits[:2, :, 0, 0].T)
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logits[0, :, 0, 0])))
    assert not spread.any()
    exploding = Training(epochs=9, seeds=2, optimiser="sgd", learning_rate=10, clip_norm=None)
    deep = Model(cell="rnn_relu", hidden_size=16, num_layers=6)
    with pytest.raises(TrainingError, match=r"every model of fold \d.* turned non-finite, the first after \d+ updates"):
        fit(deep, exploding, built, walk)


def test_on_epoch_hears_of_every_epoch(prices: Prices) -> None:
    heard: list[int] = []
    fitted = fit(MODEL, SMALL, *prepared(prices), on_epoch=lambda epoch, train, valid: heard.append(epoch))
    assert heard == list(range(1, len(fitted.losses[0]) + 1))
