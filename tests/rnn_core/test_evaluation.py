"""The calls of all folds, scored once, beside the baselines."""

import numpy as np
import pandas as pd
import pytest

from rnn_core.config import Evaluation as Shape
from rnn_core.evaluation import Evaluation, evaluate
from rnn_core.folds import Folds, folds
from rnn_core.problems import Windows

DAYS, SEEDS = 120, 3


@pytest.fixture(scope="module")
def built() -> Windows:
    rng = np.random.default_rng(2)
    returns = rng.normal(size=DAYS)
    next_returns = np.append(returns[1:], np.nan)
    known = np.isfinite(next_returns)
    y = np.where(known, next_returns > 0, np.nan)[:, None, None]
    dates = pd.bdate_range("2020-01-01", periods=DAYS)
    return Windows(returns[:, None, None], y, known[:, None], dates, returns, next_returns, ("return",))


@pytest.fixture(scope="module")
def walk(built: Windows) -> Folds:
    return folds(Shape(train_days=40, valid_days=10, test_days=12), built)


@pytest.fixture(scope="module")
def logits(walk: Folds) -> np.ndarray:
    drawn = np.random.default_rng(3).normal(size=(len(walk) * SEEDS, walk.test.shape[1], 1, 1))
    return np.where((walk.test.repeat(SEEDS, axis=0) >= 0)[..., None, None], drawn, np.nan)


@pytest.fixture(scope="module")
def found(built: Windows, walk: Folds, logits: np.ndarray) -> Evaluation:
    return evaluate(built, walk, logits)


def test_every_test_day_is_called_once_by_its_fold_with_the_ensembles_mean(
    found: Evaluation, built: Windows, walk: Folds, logits: np.ndarray
) -> None:
    assert found.calls.index.equals(built.dates[52:-1])
    for fold in range(len(walk) - 1):
        each = 1 / (1 + np.exp(-logits[fold * SEEDS : (fold + 1) * SEEDS, :, 0, 0]))
        mine = found.calls[found.calls["fold"] == fold]
        np.testing.assert_allclose(mine["probability"], each.mean(axis=0)[: len(mine)], rtol=1e-12)
        np.testing.assert_allclose(mine["spread"], each.std(axis=0)[: len(mine)], rtol=1e-12)


def test_what_happened_is_the_next_return(found: Evaluation, built: Windows) -> None:
    np.testing.assert_array_equal(found.calls["next_return"], built.returns[53:])
    np.testing.assert_array_equal(found.calls["up"], built.returns[53:] > 0)


def test_the_majority_is_that_of_the_folds_own_training_rows(found: Evaluation, built: Windows, walk: Folds) -> None:
    for fold, rows in enumerate(walk.train[:-1]):
        majority = int((built.returns[rows + 1] > 0).mean() >= 0.5)
        assert set(found.calls.loc[found.calls["fold"] == fold, "majority"]) == {majority}
    hit = found.calls["majority"] == found.calls["up"]
    assert found.scores["baseline/majority_accuracy"] == pytest.approx(hit.mean())


def test_reversal_calls_the_opposite_of_the_day_of_the_call(found: Evaluation, built: Windows) -> None:
    np.testing.assert_array_equal(found.calls["reversal"], built.returns[52:-1] <= 0)


def test_the_confusion_and_the_folds_add_up_to_the_accuracy(found: Evaluation) -> None:
    accuracy = found.scores["test/accuracy"]
    assert np.trace(found.confusion) / found.confusion.sum() == pytest.approx(accuracy)
    assert found.confusion[1].sum() == found.calls["up"].sum()
    assert found.folds["hits"].sum() / found.folds["days"].sum() == pytest.approx(accuracy)
    assert found.folds["days"].tolist() == [12] * 5 + [7]
    assert found.folds["first"].iloc[0] == found.calls.index[0]
    assert found.folds["last"].iloc[-1] == found.calls.index[-1]
