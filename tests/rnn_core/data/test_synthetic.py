from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_core.config import Synthetic
from rnn_core.data.loading import load
from rnn_core.data.synthetic import random_walk
from rnn_core.errors import DataError

NOW = datetime(2026, 11, 20, 22, tzinfo=UTC)


def walk(length: int, edge: float = 0.0, seed: int = 0) -> pd.DataFrame:
    return random_walk(length, edge, np.random.SeedSequence(seed))


def returns(frame: pd.DataFrame) -> np.ndarray:
    return np.diff(np.log(frame["close"].to_numpy()))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 200), st.integers(0, 200), st.floats(-0.5, 0.5), st.integers(0, 2**70))
def test_a_longer_walk_begins_with_the_shorter_one(
    length: int, more: int, edge: float, seed: int
) -> None:
    pd.testing.assert_frame_equal(
        walk(length + more, edge, seed)[:length], walk(length, edge, seed), check_exact=True
    )


@pytest.mark.parametrize("edge", [0.0, 0.1, -0.2, 0.5])
def test_tomorrow_moves_as_today_with_probability_one_half_plus_edge(edge: float) -> None:
    sign = np.sign(returns(walk(40_000, edge)))
    assert (sign[1:] == sign[:-1]).mean() == pytest.approx(
        0.5 + edge, abs=0.01
    )  # four standard errors


def test_volatility_clusters_around_a_daily_1_2_percent() -> None:
    size = abs(returns(walk(40_000)))
    assert np.sqrt(np.mean(size**2)) == pytest.approx(0.012, rel=0.05)
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.1


def test_magnitude_volume_and_open_do_not_tell_the_sign() -> None:
    frame = walk(40_000)
    sign, size = np.sign(returns(frame)), abs(returns(frame))
    gap = np.log(frame["open"].to_numpy()[1:] / frame["close"].to_numpy()[:-1])
    volume = np.log(frame["volume"].to_numpy()[1:])
    for hint in (size, gap, volume):
        assert abs(np.corrcoef(sign, hint)[0, 1]) < 0.02
        assert abs(np.corrcoef(sign[1:] * sign[:-1], hint[1:])[0, 1]) < 0.02
    assert np.corrcoef(size, volume)[0, 1] > 0.2
    assert np.ptp(np.log(abs(gap) / size)) > 1  # of independent draws


def test_an_edge_changes_the_signs_alone() -> None:
    np.testing.assert_allclose(
        abs(returns(walk(500, 0.3))), abs(returns(walk(500, -0.3))), rtol=1e-9
    )


def test_synthetic_prices_keep_their_past_as_the_clock_advances() -> None:
    today = load(Synthetic(days=50, edge=-0.1), "MSFT", NOW)
    later = load(Synthetic(days=60, edge=-0.1), "MSFT", NOW + timedelta(days=14))
    assert (today.source, today.attainable_accuracy) == ("synthetic", 0.6)
    assert today.frame.index[-1] == pd.Timestamp("2026-11-20")
    assert len(today.frame) == 50
    pd.testing.assert_frame_equal(
        later.frame.loc[: NOW.date().isoformat()][-50:], today.frame, check_exact=True
    )


def test_ticker_and_seed_are_mixed_into_synthetic_prices() -> None:
    hashes = {
        load(Synthetic(days=9, seed=seed), ticker, NOW).sha256
        for seed in (0, 1)
        for ticker in ("MSFT", "AAPL")
    }
    assert len(hashes) == 4


def test_more_days_than_there_have_been_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"source.days = 300: XNYS had only 25\d sessions from 2000-01-03"
    ):
        load(Synthetic(days=300), "MSFT", datetime(2001, 1, 2, tzinfo=UTC))
