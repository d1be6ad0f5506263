"""The sessions of every exchange we name, held against what others know of them.

The second source are the financial calendars of `holidays`, the third those calendars of
`pandas-market-calendars` that are its own: under an exchange's MIC it re-exports the library that
our sessions come from, and would prove nothing.
"""

import warnings
from datetime import UTC, date, datetime, time
from pathlib import Path

import holidays
import pandas as pd
import pandas_market_calendars
import pytest
from packaging.version import Version

from rnn_core.data import calendars
from rnn_core.data.calendars import CORRECTIONS, corrections, hours
from rnn_core.data.exchanges import SUFFIXES, closed_sessions, exchange_of, sessions
from rnn_core.errors import ConfigError

FIRST, LAST = date(2019, 1, 1), date(2027, 12, 31)
HOLIDAYS_NAME = {"XTKS": "XJPX"}
ANNOUNCED_A_YEAR_AHEAD = ("XBOM", "XSES", "XSHG")
OWN_CALENDARS = {
    "XASX": "ASX", "XHKG": "HKEX", "XLON": "LSE", "XNYS": "NYSE", "XOSL": "OSE", "XSHG": "SSE",
    "XSWX": "SIX", "XTKS": "JPX", "XTSE": "TSX", "BVMF": "B3", "XBOM": "BSE",
    "XCBT": "CME_Agriculture",
}  # fmt: skip

DECIDED = {
    "BVMF": {
        "a holiday of the city of São Paulo, observed by B3 until 2021": [
            "2019-01-25", "2019-07-09", "2019-11-20", "2021-01-25", "2021-07-09",
        ],
    },
    "XBOM": {
        "Bakri Id was moved to the 29th": ["2023-06-28", "2023-06-29"],
        "elections in Mumbai and other closures announced late": [
            "2019-04-29", "2019-10-21", "2024-01-22", "2024-05-20", "2024-11-20", "2026-01-15",
        ],
        "a Muhurat session in the evening of a holiday": [
            "2021-11-04", "2022-10-24", "2024-11-01", "2025-10-21",
        ],
        "open on the day before Bakri Id, closed for Id-ul-Fitr": ["2020-05-25", "2020-07-31"],
    },
    "XHKG": {
        "closed: typhoons of 2020, 2021 and 2024, and the day after Easter Monday": [
            "2020-10-13", "2021-04-06", "2021-10-13", "2024-09-06",
        ],
    },
    "XMAD": {"a full closure in 2021 only": ["2021-12-24", "2021-12-31"]},
    "XMIL": {
        "closed as Borsa Italiana did before it joined Euronext": [
            "2019-08-15", "2019-12-24", "2019-12-31", "2020-12-24", "2020-12-31", "2021-12-24",
            "2021-12-31", "2022-08-15",
        ],
    },
    "XTAI": {
        "closed by typhoons": [
            "2019-08-09", "2019-09-30", "2023-08-03", "2024-07-24", "2024-07-25", "2024-10-02",
            "2024-10-03", "2024-10-31",
        ],
    },
    "XTKS": {"no trading: the exchange's system failed": ["2020-10-01"]},
}  # fmt: skip
"""By exchange and reason, the days on which another source is wrong and ours is right."""


def decided(exchange: str) -> set[str]:
    return {day for days in DECIDED.get(exchange, {}).values() for day in days}


def ours(exchange: str) -> set[str]:
    return set(sessions(exchange, FIRST, LAST).strftime("%Y-%m-%d"))


def trading_week(exchange: str) -> pd.DatetimeIndex:
    known = hours(exchange).loc[pd.Timestamp(FIRST) : pd.Timestamp(LAST)].index
    days = pd.date_range(known[0], known[-1])
    weekend = (4, 5) if exchange == "XSAU" else (5, 6)
    return days[~days.day_of_week.isin(weekend)]


def known_to_holidays() -> list[str]:
    supported = holidays.list_supported_financial()
    return [
        mic for mic in sorted(set(SUFFIXES.values())) if HOLIDAYS_NAME.get(mic, mic) in supported
    ]


def disputed_by_holidays(exchange: str) -> set[str]:
    """Days of the trading week on which `holidays` says otherwise."""
    name = HOLIDAYS_NAME.get(exchange, exchange)
    closed = holidays.financial_holidays(name, years=range(2019, 2028))
    week = trading_week(exchange)
    theirs = {f"{day:%Y-%m-%d}" for day in week if day.date() not in closed}
    own = ours(exchange) & set(week.strftime("%Y-%m-%d"))
    announced = "2027" if exchange in ANNOUNCED_A_YEAR_AHEAD else "2028"
    return {day for day in own ^ theirs if day < announced}


def disputed_by_market_calendars(exchange: str) -> set[str]:
    """Weekdays until 2026 on which a calendar of `pandas-market-calendars` says otherwise."""
    calendar = pandas_market_calendars.get_calendar(OWN_CALENDARS[exchange])
    assert "mirror" not in type(calendar).__module__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        days = pd.DatetimeIndex(calendar.valid_days(FIRST, date(2026, 12, 31), tz=None))
    theirs = set(days.strftime("%Y-%m-%d"))
    own = {day for day in ours(exchange) if day < "2027" and pd.Timestamp(day).day_of_week < 5}
    return own ^ theirs


@pytest.mark.parametrize("exchange", known_to_holidays())
def test_sessions_are_those_of_the_holidays_library_but_for_what_is_decided(exchange: str) -> None:
    assert sorted(disputed_by_holidays(exchange) - decided(exchange)) == []


@pytest.mark.parametrize("exchange", sorted(OWN_CALENDARS))
def test_sessions_are_those_of_market_calendars_but_for_what_is_decided(exchange: str) -> None:
    assert sorted(disputed_by_market_calendars(exchange) - decided(exchange)) == []


@pytest.mark.parametrize("exchange", sorted(DECIDED))
def test_only_what_is_disputed_is_decided(exchange: str) -> None:
    disputed = disputed_by_holidays(exchange)
    if exchange in OWN_CALENDARS:
        disputed |= disputed_by_market_calendars(exchange)
    assert sorted(decided(exchange) - disputed) == []


@pytest.mark.parametrize("root", ["KE", "ZC", "ZL", "ZM", "ZO", "ZR", "ZS", "ZW", "GF", "HE", "LE"])
def test_grains_and_cattle_are_closed_where_equity_futures_have_a_short_session(root: str) -> None:
    exchange = exchange_of(f"{root}=F", None)
    week = sessions(exchange, date(2024, 11, 25), date(2024, 11, 29))
    assert list(week.strftime("%d")) == ["25", "26", "27", "29"]
    assert "28" in sessions("CMES", week[0].date(), week[-1].date()).strftime("%d")


def test_softs_have_the_holidays_that_their_exchange_announced() -> None:
    """ICE Futures U.S.: 2025 Trading Holiday Calendar, of 5 July 2024."""
    holidays_of_2025 = [
        "2025-01-01", "2025-01-20", "2025-02-17", "2025-04-18", "2025-05-26", "2025-06-19",
        "2025-07-04", "2025-09-01", "2025-11-27", "2025-12-25",
    ]  # fmt: skip
    for root in ("CC", "CT", "KC", "OJ", "SB"):
        days = sessions(exchange_of(f"{root}=F", None), date(2025, 1, 1), date(2025, 12, 31))
        closed = pd.bdate_range("2025-01-01", "2025-12-31").difference(days)
        announced = closed.drop("2025-01-09")  # New York mourned a president
        assert list(announced.strftime("%Y-%m-%d")) == holidays_of_2025
    assert exchange_of("DX=F", None) == "IEPA"


def test_grains_trade_when_new_york_is_flooded() -> None:
    assert {"2012-10-29", "2012-10-30"} <= set(
        sessions("XCBT", date(2012, 10, 1), date(2012, 10, 31)).strftime("%Y-%m-%d")
    )


def test_every_correction_names_its_source_and_changes_the_calendar() -> None:
    table = pd.read_csv(CORRECTIONS, keep_default_na=False)
    assert (table["source"].str.len() > 10).all()
    assert not table.duplicated(["exchange", "day"]).any()
    for exchange in table["exchange"].unique():
        known = hours(exchange)
        for day, row in corrections(exchange).iterrows():
            assert (day in known.index) == bool(row["opens"]), (exchange, day)
            if row["opens"]:
                assert known.loc[day, "open"].time() == time.fromisoformat(row["opens"])
                assert known.loc[day, "close"].time() == time.fromisoformat(row["closes"])


def test_seoul_closes_an_hour_late_on_the_day_of_the_college_entrance_exam() -> None:
    day = pd.DatetimeIndex(["2024-11-14"])
    assert not closed_sessions(day, "XKRX", datetime(2024, 11, 14, 6, 45, tzinfo=UTC))[0]
    assert closed_sessions(day, "XKRX", datetime(2024, 11, 14, 7, 30, tzinfo=UTC))[0]


def test_seoul_traded_on_saturdays_until_1998() -> None:
    saturdays = sessions("XKRX", date(1995, 1, 1), date(1999, 12, 31))
    assert (saturdays.day_of_week == 5).sum() == 196
    assert saturdays[saturdays.day_of_week == 5][-1] == pd.Timestamp("1998-12-05")


@pytest.mark.parametrize(
    ("day", "opens"),
    [
        ("2022-07-01", 8.5),
        ("2023-01-10", 8.5),
        ("2023-07-03", 7.5),
        ("2026-03-09", 7.5),
        ("2026-11-03", 8.5),
    ],
)
def test_mexico_opens_with_new_york(day: str, opens: float) -> None:
    moment = hours("XMEX").loc[day, "open"]
    assert moment.hour + moment.minute / 60 == opens
    new_york = moment.tz_convert("America/New_York")
    assert (new_york.hour, new_york.minute) == (9, 30)


@pytest.mark.skipif(Version(pd.__version__) < Version("3"), reason="pandas 2 reads them rightly")
@pytest.mark.parametrize("exchange", ["XTAE", "ASEX", "XBSE"])
def test_a_calendar_whose_holidays_pandas_misreads_is_refused_with_a_remedy(exchange: str) -> None:
    """Tel Aviv's was built, with sessions on Yom Kippur."""
    with pytest.raises(ConfigError) as error:
        hours(exchange)
    message = str(error.value)
    assert message.startswith(f"source.exchange = {exchange!r}: the calendar library cannot build")
    assert "leave source.exchange empty and set source.sessions=data" in message


def test_a_damaged_calendar_file_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calendars, "KEPT", tmp_path)
    hours.cache_clear()
    whole = hours("XNYS")
    (file,) = tmp_path.glob("XNYS-*.parquet")
    for damage in (b"", b"PAR1 and nothing else", file.read_bytes()[:2000]):
        file.write_bytes(damage)
        hours.cache_clear()
        pd.testing.assert_frame_equal(hours("XNYS"), whole)
    hours.cache_clear()
