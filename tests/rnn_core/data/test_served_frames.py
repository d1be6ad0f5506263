"""What the frames of a served model are held against, and that no frame ends in another error."""

import re
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rnn_core.config import Problem
from rnn_core.data.exchanges import all_sessions, sessions, steps
from rnn_core.data.served_frames import Market, last_prices
from rnn_core.errors import DataError

PROBLEM = Problem(features=("return", "volume_change"), seq_len=10)
NEW_YORK = Market("XNYS", "America/New_York", all_sessions("XNYS"))
NO_CALENDAR = Market("XNYS", "America/New_York", None)
DAYS = sessions("XNYS", date(2013, 1, 2), date(2013, 3, 15)).rename("date")
PRICES = pd.DataFrame({"close": 400.0 + np.arange(len(DAYS)), "volume": 1000}, DAYS)


def test_the_last_window_comes_by_session_as_numbers() -> None:
    prices = last_prices(PRICES.sample(frac=1, random_state=1), PROBLEM, NEW_YORK)
    expected = PRICES.tail(11).astype(float)
    pd.testing.assert_frame_equal(prices, expected, check_names=False, check_freq=False)


def test_rows_that_are_the_sessions_are_held_against_no_calendar() -> None:
    weekly = PRICES.set_axis(pd.date_range("2013-01-05", periods=len(PRICES), freq="7D"))
    assert len(last_prices(weekly, PROBLEM, NO_CALENDAR)) == 11
    with pytest.raises(DataError, match="no sessions of XNYS"):
        last_prices(weekly, PROBLEM, NEW_YORK)


def test_five_sessions_may_be_missing() -> None:
    torn = pd.concat([PRICES.iloc[:-9], PRICES.iloc[-4:]])
    assert steps(pd.DatetimeIndex(torn.index), "XNYS").max() == 6
    assert len(last_prices(torn, PROBLEM, NEW_YORK)) == 11
    with pytest.raises(DataError, match="the last 11 prices lack 6 sessions of XNYS"):
        last_prices(torn.drop(torn.index[-5]), PROBLEM, NEW_YORK)


def test_one_row_may_be_on_a_day_that_the_calendar_does_not_know() -> None:
    weekend = pd.DatetimeIndex(["2013-03-09", "2013-03-10"])
    saturday = pd.concat([PRICES, PRICES.tail(1).set_axis(weekend[:1])])
    assert len(last_prices(saturday, PROBLEM, NEW_YORK)) == 11
    both = pd.concat([PRICES, PRICES.tail(2).set_axis(weekend)])
    with pytest.raises(DataError, match=r"2 of 53 rows .* \(2013-03-09, 2013-03-10\)"):
        last_prices(both, PROBLEM, NEW_YORK)


def test_a_change_of_clocks_is_no_other_zone() -> None:
    local = PRICES.set_axis((DAYS + pd.Timedelta(hours=16)).tz_localize("America/New_York"))
    text = local.set_axis(local.index.map(str))
    assert {stamp[-6:] for stamp in text.index} == {"-04:00", "-05:00"}
    prices = last_prices(text.iloc[::-1], PROBLEM, NEW_YORK)
    assert prices["close"].tolist() == PRICES["close"].tail(11).tolist()


VALUES: list[Any] = [
    *(True, "441.4", "", None, np.nan, np.inf, -1, 0, [1], {}, (1, 2), pd.NaT, pd.NA, b"1", 1j),
    *(pd.Timestamp("2013-01-31"), pd.Timedelta(1), "NaT", "2013-01-31T00:00+14:00", 10**400),
    *("9999-12-31T23:59:59-12:00", "0001-01-01", "2200-01-01", "2013-02-30", 20130131, object()),
]


def odd_frame(column: str, value: Any, count: int) -> pd.DataFrame:
    """Prices whose last `count` values of a column, or of the index, are odd."""
    frame = PRICES.tail(11).reset_index().astype(object)
    values = [*frame.get(column, range(11))][: 11 - count] + [value] * count
    odd = pd.Series(values, dtype=object)
    if column == "index":
        return frame.drop(columns="date").set_axis(pd.Index(odd, tupleize_cols=False))
    return frame.assign(**{column: odd})


@pytest.mark.parametrize("count", [1, 11])
@pytest.mark.parametrize("value", VALUES, ids=lambda value: re.sub(" at 0x.*>", ">", repr(value)))
@pytest.mark.parametrize("column", ["close", "volume", "date", "index", "note"])
def test_odd_values_end_in_prices_or_in_one_line(column: str, value: Any, count: int) -> None:
    frame = odd_frame(column, value, count)
    try:
        prices = last_prices(frame, PROBLEM, NEW_YORK)
    except DataError as error:
        lines = str(error).splitlines()
    else:
        lines = []
        assert (prices.to_numpy() >= 0).all()
    assert len(lines) <= 1
