"""An answer is judged before it replaces what is stored, and what is stored heals."""

import logging
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnn_core.data.exchanges import sessions
from rnn_core.data.store import read
from rnn_core.errors import PricesUnavailable
from tests.rnn_core.data.answering import NOW, PRICES, Yahoo, bring

DAYS = sessions("XNYS", date(2012, 1, 3), date(2013, 1, 31)).as_unit("us").rename("date")
WEDNESDAY = "2013-01-30"
THURSDAY = "2013-01-31"
FIRST = DAYS[0].date()
HOLE = "2012-06-14"


def market(*, without: tuple[str, ...] = ()) -> Yahoo:
    """A year of New York's sessions, without some."""
    close = 100 * np.exp(0.01 * np.random.default_rng(0).standard_normal(len(DAYS)).cumsum())
    yahoo = Yahoo(THURSDAY)
    yahoo.frame = pd.DataFrame(
        {"open": 1.001 * close, "close": close, "adj_close": 0.99 * close, "volume": 1e6}, DAYS
    ).drop(pd.DatetimeIndex(list(without)))
    return yahoo


def keep(root: Path, yahoo: Yahoo, last: str, now: datetime = NOW) -> pd.DataFrame:
    return bring(root, yahoo, last, start=FIRST, now=now).frame


def refusal(root: Path, yahoo: Yahoo, last: str = THURSDAY) -> str:
    """Return why the answer is refused; what was stored stays as it is."""
    before = (root / "MSFT.parquet").read_bytes()
    with pytest.raises(PricesUnavailable) as error:
        keep(root, yahoo, last)
    assert (root / "MSFT.parquet").read_bytes() == before
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture
def root(tmp_path: Path) -> Path:
    keep(tmp_path, market(), WEDNESDAY)
    return tmp_path


@pytest.mark.parametrize("factor", [100, 0.01, 2, 0.5, 1.37, 0.7, 1.003])
def test_a_whole_history_off_by_a_factor_is_refused(root: Path, factor: float) -> None:
    yahoo = market()
    yahoo.frame[PRICES] *= factor
    message = refusal(root, yahoo)
    assert f"are about {factor:.4g} times those stored in 270 of 270 sessions" in message
    assert message.endswith(f"remove {root}/MSFT.parquet if the answer is right")


@pytest.mark.parametrize("factor", [100, 0.01, 2, 0.5, 1.37, 0.7])
def test_adjusted_closes_off_by_a_factor_are_refused(root: Path, factor: float) -> None:
    yahoo = market()
    yahoo.frame["adj_close"] *= factor
    message = refusal(root, yahoo)
    assert f"adjusted closes of MSFT are about {factor:.4g} times those stored" in message


def test_a_history_of_another_company_is_refused(root: Path) -> None:
    yahoo = market()
    yahoo.frame[PRICES] = yahoo.frame[PRICES].to_numpy()[::-1]
    assert "no split explains it" in refusal(root, yahoo)


def test_a_part_of_the_history_off_by_a_factor_is_refused(root: Path) -> None:
    yahoo = market()
    yahoo.frame.iloc[:40, :3] *= 100
    yahoo.frame.iloc[-3:, 2] *= 0.999  # so that the whole is fetched
    assert "about 100 times those stored in 40 of 270 sessions" in refusal(root, yahoo)


def test_another_symbol_and_another_currency_are_refused(root: Path) -> None:
    other = market()
    other.symbol = "GOOG"
    assert "prices of 'GOOG', not of MSFT" in refusal(root, other)
    pence = market()
    pence.currency = "GBp"
    assert "in GBp, but those stored are in USD" in refusal(root, pence)


def test_an_unknown_currency_changes_nothing(root: Path) -> None:
    yahoo = market()
    yahoo.currency = None
    keep(root, yahoo, THURSDAY)
    stored = read(root, "MSFT")
    assert stored is not None
    assert stored.currency == "USD"


@pytest.mark.parametrize("ratio", [2, 3 / 2, 1 / 20, 1.281])
@pytest.mark.parametrize("day", [THURSDAY, WEDNESDAY, "2013-01-25"])
def test_a_split_that_the_answer_tells_of_is_believed(root: Path, ratio: float, day: str) -> None:
    """On its day, or some days late: sessions from its day on were in new shares already."""
    truth = market()
    old_shares = truth.frame.index >= pd.Timestamp(day)
    before = market()
    before.frame.loc[old_shares, PRICES] /= ratio
    keep(root, before, WEDNESDAY)
    truth.frame[PRICES] /= ratio
    truth.splits = {"2012-03-01": 7.0, day: ratio}
    new = keep(root, truth, THURSDAY)
    pd.testing.assert_frame_equal(new, truth.frame, check_freq=False)


def test_two_splits_since_the_last_answer_are_believed(root: Path) -> None:
    truth = market()
    truth.frame[PRICES] /= 6
    truth.splits = {"2012-03-01": 7.0, "2013-01-31": 2.0, "2013-02-01": 3.0}
    keep(root, truth, THURSDAY)


def test_another_factor_than_that_of_the_split_is_refused(root: Path) -> None:
    truth = market()
    truth.frame[PRICES] /= 3
    truth.splits = {THURSDAY: 2.0}
    assert "no split explains it" in refusal(root, truth)


def test_a_split_explains_nothing_of_the_sessions_after_it(root: Path) -> None:
    truth = market()
    truth.frame[PRICES] /= 7
    truth.splits = {"2012-03-01": 7.0}
    assert "no split explains it" in refusal(root, truth)


def test_raw_closes_off_by_a_factor_under_right_adjusted_ones_are_refused(root: Path) -> None:
    yahoo = market()
    yahoo.frame[["open", "close"]] *= 100
    assert "are about 100 times those stored" in refusal(root, yahoo)


def test_a_large_dividend_is_believed_if_the_answer_tells_of_it(root: Path) -> None:
    truth = market()
    truth.frame.loc[:WEDNESDAY, "adj_close"] *= 0.6
    assert "no dividend explains it" in refusal(root, truth)
    truth.dividends = {THURSDAY: 0.4 * truth.frame.loc[WEDNESDAY, "close"]}
    new = keep(root, truth, THURSDAY)
    pd.testing.assert_frame_equal(new, truth.frame, check_freq=False)


@pytest.mark.parametrize("factor", [1 - 1e-5, 0.98, 0.9, 1 / 0.97])
def test_a_usual_dividend_or_its_correction_is_believed(root: Path, factor: float) -> None:
    truth = market()
    truth.frame["adj_close"] *= factor
    pd.testing.assert_frame_equal(keep(root, truth, THURSDAY), truth.frame, check_freq=False)


def test_corrected_recent_prices_are_named(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    truth = market()
    truth.frame.loc["2013-01-28", PRICES] *= 1.01
    with caplog.at_level(logging.WARNING):
        new = keep(root, truth, THURSDAY)
    assert "MSFT: Yahoo has corrected 1 stored closes: sessions 2013-01-28" in caplog.text
    pd.testing.assert_frame_equal(new, truth.frame, check_freq=False)


def test_a_raw_close_corrected_alone_is_seen(root: Path) -> None:
    truth = market()
    truth.frame.loc["2013-01-28", "close"] *= 1.01
    pd.testing.assert_frame_equal(keep(root, truth, THURSDAY), truth.frame, check_freq=False)


@pytest.mark.parametrize(("days", "whole"), [(1, False), (30, False), (31, True), (400, True)])
@pytest.mark.parametrize("direction", [1, -1])
def test_corrected_old_prices_heal_once_a_month(
    root: Path, days: int, whole: bool, direction: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole history that was fetched more than a month in the future counts as none."""
    truth = market()
    truth.frame.loc["2012-05-01":"2012-05-02", PRICES] *= 1.01
    with caplog.at_level(logging.WARNING):
        new = keep(root, truth, THURSDAY, NOW + timedelta(days=direction * days))
    assert (truth.asked[-1] == FIRST) == whole
    assert ("corrected 2 stored closes: sessions 2012-05-01, 2012-05-02" in caplog.text) == whole
    assert np.allclose(new.loc["2012-05-01", "close"], truth.frame.loc["2012-05-01", "close"]) == (
        whole
    )


def test_one_wild_clock_does_not_end_the_monthly_fetches(root: Path) -> None:
    yahoo = market()
    yahoo.frame = yahoo.frame.loc[:WEDNESDAY]
    keep(root, yahoo, THURSDAY, NOW + timedelta(days=365 * 20))
    truth = market()
    keep(root, truth, THURSDAY, NOW)
    stored = read(root, "MSFT")
    assert stored is not None
    assert stored.whole_at == NOW


def test_a_hole_known_to_be_one_is_not_fetched_every_day(tmp_path: Path) -> None:
    keep(tmp_path, market(without=(HOLE,)), WEDNESDAY)
    later = market(without=(HOLE,))
    keep(tmp_path, later, THURSDAY)
    assert len(later.asked) == 1
    stored = read(tmp_path, "MSFT")
    assert stored is not None
    assert stored.missing == {date(2012, 6, 14)}


def test_a_new_hole_heals_by_the_whole_history(tmp_path: Path) -> None:
    """A session lacked a price while it was one of the last; days later it is there."""
    lost = "2013-01-16"
    yahoo = market(without=(lost,))
    keep(tmp_path, yahoo, "2013-01-15")
    yahoo.asked.clear()
    keep(tmp_path, yahoo, "2013-01-17")
    assert yahoo.asked[-1] == FIRST  # a session is missing that was not known to be
    yahoo.asked.clear()
    for day in DAYS[-9:-3]:
        keep(tmp_path, yahoo, str(day))
    assert FIRST not in yahoo.asked
    whole = market()
    healed = keep(tmp_path, whole, THURSDAY)
    assert FIRST not in whole.asked
    assert pd.Timestamp(lost) not in healed.index
    healed = keep(tmp_path, whole, "2013-02-01", NOW + timedelta(days=31))
    assert pd.Timestamp(lost) in healed.index
    stored = read(tmp_path, "MSFT")
    assert stored is not None
    assert stored.missing == frozenset()


def test_weeks_without_an_answer_leave_no_hole(tmp_path: Path) -> None:
    keep(tmp_path, market(), "2012-11-01")
    kept = keep(tmp_path, market(), THURSDAY)
    pd.testing.assert_frame_equal(kept, market().frame, check_freq=False)


def test_stored_sessions_that_the_whole_history_lacks_are_kept(root: Path) -> None:
    """In its own terms: after a split and a dividend."""
    truth = market()
    truth.frame[PRICES] /= 2
    truth.frame.loc[:WEDNESDAY, "adj_close"] *= 0.98
    truth.frame["volume"] *= 2
    truth.splits = {THURSDAY: 2.0}
    whole = truth.frame
    truth.frame = whole.drop(pd.DatetimeIndex([HOLE]))
    pd.testing.assert_frame_equal(keep(root, truth, THURSDAY), whole, check_freq=False)


def test_a_stored_row_that_is_no_session_goes_with_the_answer(tmp_path: Path) -> None:
    holiday = market()
    row = holiday.frame.loc[["2012-07-03"]].set_axis(pd.DatetimeIndex(["2012-07-04"]))
    holiday.frame = pd.concat([holiday.frame, row]).sort_index().rename_axis("date")
    keep(tmp_path, holiday, WEDNESDAY)
    new = keep(tmp_path, market(), THURSDAY, NOW + timedelta(days=31))
    pd.testing.assert_frame_equal(new, market().frame, check_freq=False)
