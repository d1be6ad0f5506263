"""What is computed from data up to a day keeps its bits when every later price changes."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from rnn_core.config import Evaluation, Feature, Model, Problem, Synthetic, Training
from rnn_core.data.features import FEATURES
from rnn_core.data.folds import folds
from rnn_core.data.loading import load
from rnn_core.data.prices import Prices
from rnn_core.data.windows import windows
from rnn_core.evaluation.evaluation import evaluate
from rnn_core.nn.arrays import Array
from rnn_core.nn.ensemble import out_of_sample
from rnn_core.nn.training import fit

EVERY_FEATURE: tuple[Feature, ...] = get_args(Feature)
SETTINGS = Evaluation(train_days=60, valid_days=20, test_days=15)
TRAINING = Training(epochs=2, seeds=2)


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load(Synthetic(days=160, seed=5), "TEST", datetime(2024, 6, 1, tzinfo=UTC))


def altered_after(prices: Prices, day: pd.Timestamp) -> Prices:
    frame = prices.frame.copy()
    later = frame.index > day
    frame[later] *= np.linspace(2, 0.5, later.sum())[:, None]
    return Prices("TEST", frame, prices.source, prices.column, prices.exchange)


def known_on(day: pd.Timestamp, prices: Prices, features: tuple[Feature, ...]) -> dict[str, bytes]:
    """Bits of all that is computed, from prices to calls, from data up to the close of `day`."""
    problem = Problem(seq_len=5, features=features, volatility_window=5)
    built = windows(problem, prices)
    walk = folds(SETTINGS, built)
    fitted = fit(Model(hidden_size=4), TRAINING, built, walk)
    logits = out_of_sample(fitted, built, walk)
    found = evaluate(built, walk, logits, SETTINGS, shrinkage=0.5)
    last = int(np.flatnonzero(built.dates <= day)[-1])
    trained = np.array(
        [max(rows) < last for rows in walk.valid]
    )  # the last label is known one session later
    models = trained.repeat(TRAINING.seeds)
    calls = found.calls[(found.calls.index <= day) & trained[found.calls["fold"]]]
    assert trained.sum() >= 2
    assert len(calls) >= 10
    parts: dict[str, Array] = {
        "inputs": built.x[: last + 1],
        "labels": built.y[:last],
        "center": fitted.center[models],
        "scale": fitted.scale[models],
        "base rate": fitted.base_rate[models],
        "losses": fitted.valid_loss[models],
        **{name: value[models] for name, value in fitted.params.items()},
        "calls": calls.drop(columns=["up", "next_return"]).to_numpy(),
        "outcomes": calls[["up", "next_return"]].to_numpy()[:-1],
    }
    return {name: np.ascontiguousarray(part).tobytes() for name, part in parts.items()}


@pytest.mark.parametrize(
    ("features", "days"),
    [*(((name,), (116, 145)) for name in EVERY_FEATURE), (EVERY_FEATURE, range(116, 160, 4))],
    ids=[*EVERY_FEATURE, "all"],
)
def test_no_bit_that_was_known_on_a_day_depends_on_a_later_price(
    prices: Prices, features: tuple[Feature, ...], days: Iterable[int]
) -> None:
    for day in prices.frame.index[list(days)]:
        assert known_on(day, prices, features) == known_on(
            day, altered_after(prices, day), features
        ), day


def test_a_feature_that_looks_ahead_is_caught(
    prices: Prices, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = FEATURES["abs_return"]

    def leaking(frame: pd.DataFrame, window: int) -> Array:
        values = np.append(honest.values(frame, window)[1:-1], [0.0, 0.0])  # tomorrow's
        values[0] = np.nan
        return values

    monkeypatch.setitem(FEATURES, "abs_return", replace(honest, values=leaking))
    day = prices.frame.index[int(len(prices.frame) * 0.72)]
    features: tuple[Feature, ...] = ("return", "abs_return")
    before, after = (
        known_on(day, prices, features),
        known_on(day, altered_after(prices, day), features),
    )
    assert before["inputs"] != after["inputs"]
