"""Windows: what goes in, what is to be predicted, and that nothing looks ahead."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from rnn_core.config import Problem, Synthetic
from rnn_core.data.loading import load
from rnn_core.data.prices import Prices
from rnn_core.data.windows import inputs, prices_needed, windows
from rnn_core.errors import DataError

ALL_FEATURES = ("return", "abs_return", "direction", "volume_change", "volatility")
PROBLEM = Problem(seq_len=5, features=ALL_FEATURES, volatility_window=4)


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load(Synthetic(days=60, seed=3), "TEST", datetime(2024, 6, 1, tzinfo=UTC))


def altered_after(prices: Prices, day: int) -> Prices:
    """The same prices up to session number `day`, others after it."""
    frame = prices.frame.copy()
    frame.iloc[day + 1 :] *= np.linspace(1.1, 3, len(frame) - day - 1)[:, None]
    return Prices("TEST", frame, prices.source, prices.column, prices.exchange)


def test_features_are_what_pandas_computes_from_the_same_days(prices: Prices) -> None:
    close, volume = prices.frame["close"], prices.frame["volume"]
    returns = np.log(close).diff()
    expected = pd.DataFrame(
        {
            "return": returns,
            "abs_return": returns.abs(),
            "direction": np.sign(returns),
            "volume_change": np.log1p(volume).diff(),
            "volatility": returns.rolling(4).std(ddof=0),
        }
    ).to_numpy()
    built = windows(PROBLEM, prices)
    last_day = len(prices.frame) - 1
    for row in (0, 7, built.live):
        day = last_day - (built.live - row)
        np.testing.assert_allclose(built.x[row], expected[day - 4 : day + 1], rtol=1e-9, atol=1e-15)
        assert built.dates[row] == prices.frame.index[day]


def test_the_label_is_whether_the_next_session_closes_up_and_the_last_window_has_none(
    prices: Prices,
) -> None:
    built = windows(PROBLEM, prices)
    close = prices.frame["close"].to_numpy()[-len(built) :]
    np.testing.assert_array_equal(built.y[:-1, 0, 0], close[1:] > close[:-1])
    assert np.isnan(built.y[built.live]).all()
    assert built.mask[:-1].all()
    assert not built.mask[built.live].any()
    np.testing.assert_allclose(built.next_returns[:-1], np.log(close[1:] / close[:-1]), rtol=1e-9)


def test_an_unchanged_close_is_not_up() -> None:
    index = pd.bdate_range("2024-01-01", periods=8, name="date")
    flat = Prices(
        "T",
        pd.DataFrame({"close": [1.0, 2, 2, 3, 3, 3, 2, 2]}, index=index),
        "file",
        "close",
        "XNYS",
    )
    built = windows(Problem(seq_len=1, features=("return",)), flat)
    np.testing.assert_array_equal(built.y[:-1, 0, 0], [0, 1, 0, 0, 0, 0])


@pytest.mark.parametrize("day", [10, 30, 58])
def test_no_input_changes_when_every_later_price_does(prices: Prices, day: int) -> None:
    before, after = windows(PROBLEM, prices), windows(PROBLEM, altered_after(prices, day))
    known = before.dates <= prices.frame.index[day]
    assert known.sum() > 0
    assert before.x[known].tobytes() == after.x[known].tobytes()
    assert before.y[known][:-1].tobytes() == after.y[known][:-1].tobytes()


def test_the_window_of_a_short_frame_has_the_same_bits_as_at_the_end_of_a_long_one(
    prices: Prices,
) -> None:
    needed = prices_needed(PROBLEM)
    alone = inputs(PROBLEM, prices.frame.tail(needed))
    assert len(alone) == 1
    assert alone[-1].tobytes() == windows(PROBLEM, prices).x[-1].tobytes()
    assert len(inputs(PROBLEM, prices.frame.tail(needed - 1))) == 0


def test_too_few_prices_are_refused_with_the_number_needed(prices: Prices) -> None:
    short = Prices("T", prices.frame.head(9), "file", "close", "XNYS")
    with pytest.raises(DataError, match=r"T: got 9 prices; one labelled window needs 10"):
        windows(PROBLEM, short)


def test_the_volume_feature_needs_every_volume(prices: Prices) -> None:
    without = Prices("T", prices.frame[["close"]], "file", "close", "XNYS")
    with pytest.raises(DataError, match="volume_change needs a volume column"):
        windows(PROBLEM, without)
    gap = prices.frame.copy()
    gap.iloc[20, gap.columns.get_loc("volume")] = np.nan
    with pytest.raises(DataError, match=f"1 missing or negative: {gap.index[20].date()}"):
        windows(PROBLEM, Prices("T", gap, "file", "close", "XNYS"))
