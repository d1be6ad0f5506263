"""Every row is a session, and no move over a missing session is one day's."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_core.config import Evaluation, File, Problem
from rnn_core.data.exchanges import sessions, steps
from rnn_core.data.folds import folds
from rnn_core.data.loading import load
from rnn_core.data.prices import Prices
from rnn_core.data.time_stamps import session_dates
from rnn_core.data.windows import Windows, refuse_torn_window, windows
from rnn_core.errors import DataError

NOW = datetime(2013, 3, 2, tzinfo=UTC)
AAPL = Path(__file__).parents[2] / "data" / "AAPL.csv"
CLOSES = pd.read_csv(AAPL, index_col="Date", parse_dates=True)["Adj Close"].rename("Close")
SMALL = Evaluation(train_days=60, valid_days=20, test_days=15)


def read(path: Path, closes: "pd.Series[float]", **options: str) -> Prices:
    closes.to_csv(path)
    return load(File.model_validate({"path": path, **options}), "AAPL", NOW)


def built(closes: "pd.Series[float]") -> Windows:
    prices = Prices("AAPL", closes.to_frame("close"), "file", "Close", "XNYS")
    return windows(Problem(), prices)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prices.csv"


@pytest.mark.parametrize(("rule", "share"), [("D", "31.1%"), ("B", "3.6%")])
def test_prices_carried_forward_over_days_without_a_session_are_refused(
    path: Path, rule: str, share: str
) -> None:
    with pytest.raises(DataError) as error:
        read(path, CLOSES.resample(rule).ffill())
    message = str(error.value)
    assert message.startswith(
        f"{path}: {share} of the rows are on days that are no sessions of XNYS"
    )
    assert message.endswith(
        "set source.exchange, or source.sessions=data if the rows themselves are the sessions"
    )


def test_the_rows_are_the_sessions_if_the_source_says_so(path: Path) -> None:
    prices = read(path, CLOSES.resample("B").ffill(), sessions="data")
    assert prices.own_sessions
    assert (prices.steps == 1).all()
    assert len(prices.frame) == len(CLOSES.resample("B").ffill())


def test_a_special_session_that_the_calendar_lacks_is_kept_with_a_warning(path: Path) -> None:
    saturday = pd.Series({pd.Timestamp("2012-12-22"): 74.0})
    prices = read(
        path, pd.concat([CLOSES, saturday]).sort_index().rename_axis("Date").rename("Close")
    )
    assert pd.Timestamp("2012-12-22") in prices.frame.index
    assert f"{path}: kept although XNYS has no session: sessions 2012-12-22" in prices.warnings


@pytest.mark.parametrize(("rule", "kind"), [("W-FRI", "weekly"), ("ME", "monthly")])
def test_rows_that_are_not_daily_are_refused_as_what_they_are(
    path: Path, rule: str, kind: str
) -> None:
    last_sessions = CLOSES.groupby(pd.Grouper(freq=rule)).apply(lambda rows: rows.index[-1])
    with pytest.raises(DataError, match=f"{kind} prices are not daily ones; give every session"):
        read(path, CLOSES.loc[last_sessions])


@pytest.mark.parametrize("count", [1, 100])
def test_a_move_over_missing_sessions_is_no_label_no_test_day_and_no_return(
    path: Path, count: int
) -> None:
    gap = slice(2000, 2000 + count)
    prices = read(path, CLOSES.drop(CLOSES.index[gap]))
    (warning,) = [text for text in prices.warnings if "no price of" in text]
    assert warning.startswith(f"{path}: no price of the XNYS sessions 2008-02-14")
    made = windows(Problem(), prices)
    before = int(made.dates.get_loc(CLOSES.index[1999]))
    assert not made.mask[[before, before + 1]].any()
    assert np.isnan(made.y[[before, before + 1]]).all()
    walk = folds(SMALL, made)
    for rows in (walk.train, walk.valid, walk.test):
        assert not np.isin(rows, [before, before + 1]).any()
    reached_over = range(before + 1, before + 11)  # the first windows that hold the move
    assert bool(made.mask[before + 2].any()) == (count == 1)
    if count > 5:
        assert not made.mask[reached_over].any()


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(30, 400), max_size=60))
def test_every_label_is_the_move_of_one_session_whatever_is_missing(missing: set[int]) -> None:
    """Held against the whole series, from which some sessions were taken out."""
    whole = CLOSES.iloc[:420]
    one_session = np.log(whole).diff().shift(-1)
    made = built(whole.drop(whole.index[sorted(missing)]))
    labelled = made.mask[:, 0]
    np.testing.assert_allclose(
        made.next_returns[labelled], one_session[made.dates[labelled]], rtol=1e-12
    )
    np.testing.assert_allclose(
        made.returns[labelled], np.log(whole).diff()[made.dates[labelled]], rtol=1e-12
    )


def test_without_a_missing_session_every_window_but_the_live_one_is_labelled() -> None:
    made = built(CLOSES)
    assert made.mask[:-1].all()
    assert not made.mask[-1].any()


def test_small_gaps_add_up_within_a_window() -> None:
    """Eleven prices with a gap of three sessions after every four lack six or more."""
    kept = np.arange(2000)
    torn = built(CLOSES.iloc[:2000][kept % 7 < 4])
    assert not torn.mask.any()
    whole = built(CLOSES.iloc[:2000][kept % 100 < 95])
    assert whole.mask.any()


@pytest.mark.parametrize("every", [2, 3])
def test_every_second_session_is_not_daily(path: Path, every: int) -> None:
    with pytest.raises(DataError, match=f"about {every} sessions of XNYS apart"):
        read(path, CLOSES.iloc[::every])


def test_folds_without_labels_are_refused_and_not_trained() -> None:
    unlabelled = built(CLOSES.iloc[:1200][np.arange(1200) % 8 < 1])
    with pytest.raises(
        DataError, match="a fold has no training row: too many sessions are missing"
    ):
        folds(SMALL, unlabelled)


def test_days_before_the_calendar_begins_are_left_out_and_named(path: Path) -> None:
    early = pd.Series(
        CLOSES.to_numpy(), pd.date_range("1985-01-01", periods=len(CLOSES), name="Date")
    ).rename("Close")
    sound = sessions("XNYS", date(1985, 1, 1), date(1993, 12, 31))
    kept = early[(early.index < sound[0]) | early.index.isin(sound)]
    prices = read(path, kept)
    assert prices.frame.index[0] == sound[0] == pd.Timestamp("1990-01-02")
    [warning] = [text for text in prices.warnings if "left out" in text]
    assert "1827 rows before 1990-01-02 were left out" in warning
    with pytest.raises(DataError, match="at least 2 are needed"):
        read(path, kept[:"1989"])
    assert len(read(path, kept[:"1989"], sessions="data").frame) == 1826


def test_a_last_window_that_lacks_sessions_is_not_forecast_from() -> None:
    def without(count: int) -> Prices:
        closes = pd.concat([CLOSES.iloc[: -3 - count], CLOSES.iloc[-3:]])
        return Prices("AAPL", closes.to_frame("close"), "file", "Close", "XNYS")

    refuse_torn_window(Problem(), without(5))
    with pytest.raises(DataError, match="the last 11 prices of AAPL lack 6 sessions of XNYS"):
        refuse_torn_window(Problem(), without(6))


@pytest.mark.parametrize("ticker", ["^TA125", "MY-INDEX", "KOSPI=F", "TEVA.TA"])
def test_rows_that_are_the_sessions_need_no_known_exchange(path: Path, ticker: str) -> None:
    CLOSES.to_csv(path)
    source = File(path=path, sessions="data")
    assert len(load(source, ticker, NOW).frame) == len(CLOSES)


def test_steps_count_sessions_not_days() -> None:
    index = pd.DatetimeIndex(["2012-12-31", "2013-01-02", "2013-01-03", "2013-01-07"])
    assert steps(index, "XNYS").tolist() == [1, 1, 1, 2]


STAMPS = {
    "midnight in UTC": [f"{day:%Y-%m-%d} 00:00:00+00:00" for day in CLOSES.index],
    "midnight in New York": [
        f"{day.tz_localize('America/New_York').isoformat()}" for day in CLOSES.index
    ],
    "midnight in New York, told in UTC": [
        f"{day.tz_localize('America/New_York').tz_convert('UTC').isoformat()}"
        for day in CLOSES.index
    ],
    "the close in New York, told in UTC": [
        f"{close.tz_localize('America/New_York').tz_convert('UTC').isoformat()}"
        for close in CLOSES.index + pd.Timedelta(hours=16)
    ],
    "midnight of a vendor in Tokyo": [f"{day:%Y-%m-%d}T00:00:00+09:00" for day in CLOSES.index],
}


@pytest.mark.parametrize("kind", STAMPS)
def test_a_time_stamp_means_the_session_that_its_writer_meant(path: Path, kind: str) -> None:
    stamped = pd.Series(CLOSES.to_numpy(), pd.Index(STAMPS[kind], name="Date"), name="Close")
    prices = read(path, stamped)
    assert prices.frame.index.equals(CLOSES.index)
    assert prices.frame.index[-1] == pd.Timestamp("2013-03-01")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_time_stamp_in_a_parquet_file_means_the_same(tmp_path: Path, zone: str) -> None:
    file = tmp_path / "prices.parquet"
    CLOSES.tz_localize(zone).to_frame().to_parquet(file)
    prices = load(File(path=file), "AAPL", NOW)
    assert prices.frame.index.equals(CLOSES.index)


def test_seouls_midnight_is_its_own_date_though_it_is_the_day_before_in_utc() -> None:
    instants = pd.DatetimeIndex(["2026-03-02 15:00", "2026-03-03 00:00"], tz="UTC")
    dates = session_dates(instants, instants.tz_localize(None), "Asia/Seoul")
    assert dates.strftime("%m-%d").tolist() == ["03-03", "03-03"]


def test_a_path_may_name_the_ticker(tmp_path: Path) -> None:
    CLOSES.to_csv(tmp_path / "AAPL.csv")
    template = File(path=tmp_path / "{ticker}.csv")
    assert len(load(template, "AAPL", NOW).frame) == len(CLOSES)
    with pytest.raises(DataError, match=r"MSFT\.csv: no such file"):
        load(template, "MSFT", NOW)


def test_another_name_in_braces_is_not_replaced_and_the_error_says_which_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file; only \{ticker\} stands for the ticker"):
        load(File(path=tmp_path / "{symbol}.csv"), "AAPL", NOW)


def test_the_rows_of_tel_aviv_are_its_sessions_without_its_calendar(path: Path) -> None:
    days = pd.date_range("2011-01-02", "2013-02-28", freq="D")
    sundays_to_thursdays = days[~days.day_name().isin(["Friday", "Saturday"])]
    closes = CLOSES.iloc[: len(sundays_to_thursdays)].set_axis(
        sundays_to_thursdays.rename("Date").tz_localize("Asia/Jerusalem")
    )
    closes.to_csv(path)
    prices = load(File(path=path, sessions="data"), "TEVA.TA", NOW)
    assert list(prices.frame.index) == list(sundays_to_thursdays)
    assert (prices.steps == 1).all()


def test_all_sessions_of_the_sample_are_there() -> None:
    expected = sessions("XNYS", CLOSES.index[0].date(), CLOSES.index[-1].date())
    assert expected.equals(pd.DatetimeIndex(CLOSES.index.to_numpy()))


@pytest.mark.parametrize(("exchange", "year"), [("XNYS", 252), ("24/7", 365), ("24/5", 260)])
def test_a_year_has_the_sessions_of_the_market(exchange: str, year: int) -> None:
    days = sessions(exchange, date(2012, 1, 1), date(2012, 12, 31)).rename("date")
    frame = pd.DataFrame({"close": np.linspace(1, 2, len(days))}, days)
    prices = Prices("X", frame, "file", "Close", exchange)
    assert windows(Problem(), prices).sessions_a_year == year


@pytest.mark.parametrize(("rule", "year"), [("D", 365), ("B", 261)])
def test_rows_that_are_the_sessions_tell_how_many_a_year_has(
    path: Path, rule: str, year: int
) -> None:
    assert read(path, CLOSES.resample(rule).ffill(), sessions="data").sessions_a_year == year
