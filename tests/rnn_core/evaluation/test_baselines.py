"""Baselines through the folds: against plain loops, and blind to what came later."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from rnn_core.errors import ArrayError
from rnn_core.evaluation.baselines import Baselines, direction_baselines, regression_baselines
from rnn_core.nn.sequences import Folds

quick = settings(derandomize=True, deadline=None, max_examples=10)
NAMES = ("majority", "persistence", "reversal", "logistic", "boosting")
DAYS, STEPS = 160, 4


def series(seed: int, persistence: float = 0.0) -> dict[str, np.ndarray]:
    """Windows of the last returns, labels and returns; some returns are 0."""
    rng = np.random.default_rng(seed)
    returns = rng.normal(size=DAYS + STEPS)
    for day in range(1, len(returns)):
        if rng.random() < abs(persistence):
            returns[day] = abs(returns[day]) * np.sign(returns[day - 1] * persistence)
    returns[rng.random(len(returns)) < 0.05] = 0
    x = np.stack([returns[end - STEPS : end] for end in range(STEPS + 1, DAYS + STEPS + 1)])[
        ..., None
    ]
    own = returns[STEPS:]
    y = np.append(own[1:] > 0, np.nan).astype(float)
    return {"x": x, "y": np.where(np.arange(DAYS) < DAYS - 1, y, np.nan), "returns": own}


def walk(train_days: int = 60, test_days: int = 25, expanding: bool = False) -> Folds:
    """Folds of training, validation and test rows with gaps, as purging leaves them; one live."""
    starts = [*range(train_days + 10, DAYS - 1, test_days), DAYS - 1]
    train = np.full((len(starts), starts[-1]), -1)
    valid = np.full((len(starts), 8), -1)
    test = np.full((len(starts), test_days), -1)
    for fold, start in enumerate(starts):
        rows = np.arange(0 if expanding else start - 10 - train_days, start - 10)
        train[fold, : len(rows)] = rows
        valid[fold] = np.arange(start - 9, start - 1)
        rows = np.arange(start, min(start + test_days, DAYS - 1))
        test[fold, : len(rows)] = rows
    return Folds(train, valid, test)


def forecast(data: dict[str, np.ndarray], folds: Folds, shrinkage: float = 0.0) -> Baselines:
    return direction_baselines(**data, folds=folds, shrinkage=shrinkage)


def by_fold(folds: Folds) -> list[tuple[list[int], list[int]]]:
    pairs = zip(folds.train, folds.test, strict=True)
    return [
        ([int(row) for row in train if row >= 0], [int(row) for row in test if row >= 0])
        for train, test in pairs
    ]


def assert_same_bits(one: Baselines, other: Baselines, count: int | None = None) -> None:
    for part in ("probability", "called"):
        for name in NAMES:
            np.testing.assert_array_equal(
                getattr(one, part)[name][:count], getattr(other, part)[name][:count], name
            )


@quick
@given(st.integers(0, 1000), st.sampled_from([-0.4, 0.0, 0.4]), st.booleans())
def test_each_rule_is_what_a_plain_loop_over_its_folds_says(
    seed: int, persistence: float, expanding: bool
) -> None:
    data, folds = series(seed, persistence), walk(expanding=expanding)
    found = forecast(data, folds)
    y, returns, day = data["y"], data["returns"], 0
    for train, test in by_fold(folds):
        base = sum(y[row] for row in train) / len(train)
        kept = sum((returns[row] > 0) == (y[row] == 1) for row in train) / len(train)
        for row in test:
            up = returns[row] > 0
            right = {"persistence": max(kept, 0.5), "reversal": max(1 - kept, 0.5)}
            assert found.probability["majority"][day] == pytest.approx(base)
            assert found.probability["persistence"][day] == pytest.approx(
                right["persistence"] if up else 1 - right["persistence"]
            )
            assert found.probability["reversal"][day] == pytest.approx(
                1 - right["reversal"] if up else right["reversal"]
            )
            calls = [found.called[name][day] for name in ("majority", "persistence", "reversal")]
            assert calls == [base >= 0.5, up, not up]
            day += 1
    assert all(len(found.probability[name]) == len(found.called[name]) == day for name in NAMES)


@pytest.mark.parametrize("shrinkage", [0.0, 0.5])
def test_learned_baselines_are_scikit_learns_with_the_lowest_validation_loss_and_shrunk(
    shrinkage: float,
) -> None:
    data, folds = series(1, 0.4), walk()
    data["x"] = data["x"] * [[1.0], [100.0], [0.01], [1.0]] + [[0.0], [50.0], [0.0], [-3.0]]
    served = forecast(data, folds, shrinkage).probability
    expected: dict[str, list[float]] = {"logistic": [], "boosting": []}
    chosen = set()
    for train, valid, test in zip(folds.train, folds.valid, folds.test, strict=True):
        train = train[train >= 0]
        test = test[test >= 0]
        if len(test) == 0:
            continue
        flat = data["x"][..., 0]
        y = data["y"]
        center, scale = flat[train].mean(axis=0), flat[train].std(axis=0)
        scaled = (flat - center) / scale
        models = [LogisticRegression(C=10.0**-k).fit(scaled[train], y[train]) for k in (3, 2, 1, 0)]
        losses = [log_loss(y[valid], m.predict_proba(scaled[valid]), labels=[0, 1]) for m in models]
        chosen.add(int(np.argmin(losses)))
        logistic = models[int(np.argmin(losses))].predict_proba(scaled[test])[:, 1]
        trees = [
            HistGradientBoostingClassifier(
                max_iter=count, max_leaf_nodes=4, max_bins=32, early_stopping=False
            ).fit(flat[train], y[train])
            for count in range(1, 21)
        ]
        losses = [log_loss(y[valid], m.predict_proba(flat[valid]), labels=[0, 1]) for m in trees]
        base = y[train].mean()
        boosted = trees[int(np.argmin(losses))].predict_proba(flat[test])[:, 1]
        if log_loss(y[valid], np.full(len(valid), base), labels=[0, 1]) <= min(losses):
            boosted = np.full(len(test), base)
        for name, p in (("logistic", logistic), ("boosting", boosted)):
            expected[name] += list((1 - shrinkage) * p + shrinkage * base)
    assert len(chosen) > 1, "the example should need more than one penalty"
    for name, values in expected.items():
        np.testing.assert_allclose(served[name], values, rtol=1e-3)


def test_without_validation_rows_the_least_free_candidate_is_taken() -> None:
    data, folds = series(1, 0.4), walk()
    none = replace(folds, valid=np.full_like(folds.valid, -1))
    probability = forecast(data, none).probability
    np.testing.assert_array_equal(probability["boosting"], probability["majority"])
    assert np.ptp(probability["logistic"] - probability["majority"]) < 0.2


def test_every_probability_is_shrunk_alike_and_the_rules_calls_stay() -> None:
    data, folds = series(3, 0.5), walk()
    whole, half = forecast(data, folds), forecast(data, folds, 0.5)
    for name in NAMES:
        middle = (whole.probability[name] + whole.probability["majority"]) / 2
        np.testing.assert_allclose(half.probability[name], middle, rtol=1e-12)
    for name in ("majority", "persistence", "reversal"):
        np.testing.assert_array_equal(half.called[name], whole.called[name])


@pytest.mark.parametrize(
    ("persistence", "winner", "loser"), [(0.5, "persistence", "reversal"), (-0.5, "reversal", "")]
)
def test_what_was_planted_is_found_by_the_rule_that_looks_for_it(
    persistence: float, winner: str, loser: str
) -> None:
    data, folds = series(3, persistence), walk()
    found = forecast(data, folds)
    up = data["y"][folds.test[folds.test >= 0]]
    losses = {name: log_loss(up, found.probability[name]) for name in NAMES}
    assert losses[winner] < losses["majority"] - 0.03
    for learned in ("logistic", "boosting"):
        assert losses[learned] < losses["majority"] - 0.02
    assert losses[loser or "persistence"] == pytest.approx(np.log(2)), (
        "a rule that is wrong is worth nothing"
    )
    assert (found.called[winner] == up).mean() > 0.6


@quick
@given(st.integers(0, 1000), st.integers(75, DAYS - 2))
def test_nothing_that_comes_after_a_day_changes_a_bit_of_what_was_forecast_on_it(
    seed: int, day: int
) -> None:
    data, folds = series(seed), walk()
    changed = {name: value.copy() for name, value in data.items()}
    rng = np.random.default_rng(seed + 1)
    changed["x"][day + 1 :] = rng.normal(size=changed["x"][day + 1 :].shape) * 10
    changed["returns"][day + 1 :] *= -3
    changed["y"][day:-1] = 1 - changed["y"][day:-1]  # the label of a day is known one session later
    past = int((folds.test[folds.test >= 0] <= day).sum())
    assert past > 0
    assert_same_bits(forecast(data, folds), forecast(changed, folds), past)


def test_a_row_has_the_same_bits_whatever_is_forecast_beside_it() -> None:
    data, folds = series(4), walk()
    data["x"] = np.random.default_rng(4).normal(size=(DAYS, 10, 3))
    whole = forecast(data, folds)
    first = folds.test[0].copy()
    for count in range(1, len(first)):
        folds.test[0] = np.where(np.arange(len(first)) < count, first, -1)
        assert_same_bits(forecast(data, folds), whole, count)


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_training_rows_of_one_class_forecast_it_without_being_certain(outcome: float) -> None:
    data, folds = series(5), walk()
    train = folds.train[0][folds.train[0] >= 0]
    data["y"][train] = outcome
    found = forecast(data, folds)
    laplace = (60 * outcome + 1) / 62
    for name in ("majority", "logistic", "boosting"):
        np.testing.assert_allclose(found.probability[name][:25], laplace)
        np.testing.assert_array_equal(found.called[name][:25], outcome)
    for name in NAMES:
        assert ((found.probability[name] > 0) & (found.probability[name] < 1)).all()


def test_a_rule_that_never_failed_is_not_certain_either() -> None:
    data, folds = series(6), walk()
    train = folds.train[0][folds.train[0] >= 0]
    data["y"][train] = data["returns"][train] > 0
    found = forecast(data, folds).probability
    assert set(np.round(found["persistence"][:25], 12)) == {
        np.round(1 / 62, 12),
        np.round(61 / 62, 12),
    }
    np.testing.assert_array_equal(found["reversal"][:25], 0.5)


def test_as_many_ups_as_downs_are_called_up() -> None:
    data, folds = series(7), walk()
    train = folds.train[0][folds.train[0] >= 0]
    data["y"][train] = np.arange(60) % 2
    found = forecast(data, folds)
    assert set(found.probability["majority"][:25]) == {0.5}
    assert set(found.called["majority"][:25]) == {1}


def test_a_feature_that_stands_still_is_no_trouble() -> None:
    data, folds = series(8), walk()
    with_constant = data | {"x": np.concatenate([data["x"], np.full_like(data["x"], 7.0)], axis=-1)}
    one, other = forecast(data, folds), forecast(with_constant, folds)
    np.testing.assert_allclose(
        one.probability["logistic"], other.probability["logistic"], atol=1e-4
    )


def test_rows_without_a_label_and_folds_without_rows_are_refused() -> None:
    data, folds = series(9), walk()
    unlabelled = replace(folds, train=folds.train.copy())
    unlabelled.train[0, 0] = DAYS - 1
    with pytest.raises(ArrayError, match="row of y is NaN"):
        forecast(data, unlabelled)
    empty = replace(folds, train=folds.train.copy())
    empty.train[0] = -1
    with pytest.raises(ArrayError, match="tested fold without rows"):
        forecast(data, empty)
    with pytest.raises(ArrayError, match="tested fold without rows"):
        regression_baselines(data["returns"], data["y"], empty.train, empty.test)


def test_a_number_is_forecast_as_the_last_one_and_the_mean_of_the_training_rows() -> None:
    data, folds = series(10), walk(expanding=True)
    target: Any = np.append(data["returns"][1:], np.nan)
    found = regression_baselines(data["returns"], target, folds.train, folds.test)
    expected: dict[str, list[float]] = {"last_value": [], "training_mean": []}
    for train, test in by_fold(folds):
        expected["last_value"] += [data["returns"][row] for row in test]
        expected["training_mean"] += [sum(target[row] for row in train) / len(train) for _ in test]
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12)
