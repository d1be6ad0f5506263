from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from rnn_core.data.exchanges import (
    FUTURES,
    INDICES,
    SUFFIXES,
    closed_for_the_day,
    closed_sessions,
    exchange_of,
    last_closed_session,
    sessions,
    time_zone,
)
from rnn_core.errors import ConfigError


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def days(*texts: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(texts)


@pytest.mark.parametrize(
    ("ticker", "exchange"),
    [
        ("MSFT", "XNYS"), ("BRK-B", "XNYS"), ("^GSPC", "XNYS"), ("078935.KS", "XKRX"),
        ("035720.KQ", "XKRX"), ("7203.T", "XTKS"), ("0700.HK", "XHKG"), ("VOD.L", "XLON"),
        ("sap.de", "XETR"), ("2330.TW", "XTAI"), ("BTC-USD", "24/7"), ("EURUSD=X", "24/5"),
    ],
)  # fmt: skip
def test_the_exchange_follows_from_the_suffix_of_the_ticker(ticker: str, exchange: str) -> None:
    assert exchange_of(ticker, None) == exchange


def test_a_given_exchange_wins_over_the_suffix_and_may_be_an_alias() -> None:
    assert exchange_of("078935.KS", "XNYS") == "XNYS"
    assert exchange_of("MSFT", "NASDAQ") == "XNYS"
    assert exchange_of("MSFT", "XCBT") == "XCBT"


def test_an_unknown_exchange_is_refused_with_the_field_and_valid_names() -> None:
    with pytest.raises(ConfigError, match=r"source.exchange = 'MARS'.*XKRX"):
        exchange_of("MSFT", "MARS")


def test_an_unknown_suffix_asks_for_the_exchange() -> None:
    with pytest.raises(ConfigError, match=r"'BRK.B'.*set source.exchange"):
        exchange_of("BRK.B", None)


@pytest.mark.parametrize(
    ("ticker", "exchange"),
    [
        ("^N225", "XTKS"), ("^KS11", "XKRX"), ("^FTSE", "XLON"), ("^GDAXI", "XETR"),
        ("^HSI", "XHKG"), ("^GSPC", "XNYS"), ("GC=F", "CMES"), ("es=f", "CMES"), ("KC=F", "IFUS"),
        ("DX=F", "IEPA"), ("BTC-GBP", "24/7"), ("ETH-BTC", "24/7"), ("BTC-USDT", "24/7"),
        ("BTC-USD", "24/7"), ("BRK-B", "XNYS"), ("BAC-PL", "XNYS"), ("NOVO-B.CO", "XCSE"),
        ("KRW=X", "24/5"), ("ABR-PD", "XNYS"), ("ACHR-WT", "XNYS"), ("USB-PH", "XNYS"),
        ("SCE-UN", "XNYS"),
        ("UNI7083-USD", "24/7"), ("SUI20947-USD", "24/7"), ("1INCH-USD", "24/7"),
        ("USDT-USD", "24/7"), ("EUR-USDT", "24/7"), ("doge-eur", "24/7"), ("WBTC-ETH", "24/7"),
        ("EUR-USD", "24/5"), ("USD-KRW", "24/5"), ("XAU-USD", "24/5"), ("USDKRW=X", "24/5"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("yahoo", [True, False])
def test_indices_futures_and_pairs_have_the_sessions_of_their_market(
    ticker: str, exchange: str, yahoo: bool
) -> None:
    assert exchange_of(ticker, None, yahoo=yahoo) == exchange


@pytest.mark.parametrize(
    "ticker",
    [
        "^NOSUCH", "XYZ=F", "ABC-DEF", "FOO-BAR", "MSFT-USD", "-USD", "BTC-", "-", "-B", "^", "=F",
        "7083-USD", "BTC-MSFT", "BTC-USD-EUR", "USD2-EUR", "=X", "FOO=X", "MSFTUSD=X", "EURUSDX=X",
    ],
)  # fmt: skip
def test_what_does_not_tell_its_exchange_is_refused(ticker: str) -> None:
    with pytest.raises(ConfigError, match=r"set source\.exchange$"):
        exchange_of(ticker, None)
    assert exchange_of(ticker, "XLON") == "XLON"


@pytest.mark.parametrize(
    ("ticker", "words"),
    [
        ("MSFT-USD", "'MSFT-USD' has an unknown currency or coin 'MSFT'"),
        ("BTC-MSFT", "unknown currency or coin 'MSFT'"),
        ("-USD", "unknown currency or coin ''"),
        ("EURFOO=X", "unknown currency 'FOO'"),
    ],
)
def test_the_unknown_part_of_a_pair_is_named(ticker: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        exchange_of(ticker, None)
    assert words in str(error.value)


def test_an_unknown_coin_trades_where_the_user_says() -> None:
    assert exchange_of("MYCOIN-USD", "24/7") == "24/7"


def test_every_index_and_future_leads_to_a_calendar_with_sessions() -> None:
    for exchange in {*INDICES.values(), *FUTURES.values()}:
        assert sessions(exchange, date(2024, 1, 1), date(2024, 12, 31)).size > 230, exchange


def test_every_suffix_leads_to_a_calendar_of_the_library() -> None:
    assert {exchange_of(f"A{suffix}", None) for suffix in SUFFIXES} == set(SUFFIXES.values())


def test_sessions_leave_out_weekends_and_holidays_since_1990() -> None:
    assert list(sessions("XNYS", date(1990, 1, 1), date(1990, 1, 8))) == list(
        days("1990-01-02", "1990-01-03", "1990-01-04", "1990-01-05", "1990-01-08")
    )


def test_sessions_reach_years_ahead_also_where_the_calendar_ends() -> None:
    assert sessions("XNYS", date(2027, 12, 27), date(2027, 12, 31)).size == 5
    assert sessions("XSHG", date(2040, 1, 2), date(2040, 1, 8)).size == 5  # weekdays stand in


def test_sessions_of_a_calendar_that_begins_late_begin_with_it() -> None:
    assert sessions("XTKS", date(1990, 1, 1), date(1997, 1, 8))[0] == pd.Timestamp("1997-01-06")


def test_a_session_is_closed_from_its_close_on() -> None:
    index = days("2013-02-27", "2013-02-28")
    assert closed_sessions(index, "XNYS", at("2013-02-28T20:59:59")).tolist() == [True, False]
    assert closed_sessions(index, "XNYS", at("2013-02-28T21:00:00")).tolist() == [True, True]


def test_an_early_close_counts() -> None:
    assert closed_sessions(days("2024-11-29"), "XNYS", at("2024-11-29T18:00")).tolist() == [True]


def test_a_date_unknown_to_the_calendar_closes_when_its_day_ends_on_the_exchange() -> None:
    saturday, before_1990 = "2013-03-02", "1962-01-02"
    index = days(before_1990, saturday)
    assert closed_sessions(index, "XNYS", at("2013-03-03T04:59")).tolist() == [True, False]
    assert closed_sessions(index, "XNYS", at("2013-03-03T05:00")).tolist() == [True, True]


def test_no_sessions_are_no_answers() -> None:
    assert closed_sessions(days(), "XNYS", at("2013-03-03T05:00")).shape == (0,)


def test_seoul_closes_in_its_own_time_zone_and_on_election_days() -> None:
    assert time_zone("XKRX") == "Asia/Seoul"
    assert last_closed_session("XKRX", at("2026-06-02T06:29")) == pd.Timestamp("2026-06-01")
    assert last_closed_session("XKRX", at("2026-06-02T06:30")) == pd.Timestamp("2026-06-02")
    assert last_closed_session("XKRX", at("2026-06-03T23:00")) == pd.Timestamp("2026-06-02")


def test_a_crypto_day_closes_at_midnight_utc() -> None:
    assert last_closed_session("24/7", at("2026-01-04T23:59")) == pd.Timestamp("2026-01-03")


@pytest.mark.parametrize("hours", range(0, 24 * 8, 5))
def test_the_last_closed_session_is_the_last_of_the_closed_ones(hours: int) -> None:
    now = at("2024-12-24T00:00") + timedelta(hours=hours)
    index = sessions("XNYS", date(2024, 12, 1), date(2025, 1, 31))
    assert last_closed_session("XNYS", now) == index[closed_sessions(index, "XNYS", now)][-1]


def test_a_day_is_closed_if_no_exchange_has_a_session() -> None:
    christmas, boxing_day = at("2024-12-25T12:00"), at("2024-12-26T12:00")
    said = "2024-12-25 is no session of XLON; 2024-12-25 is no session of XNYS"
    assert closed_for_the_day(["XNYS", "XLON", "XNYS"], christmas) == said
    assert closed_for_the_day(["XLON", "XNYS"], boxing_day) is None
    assert closed_for_the_day([], christmas) is None


def test_the_first_exchange_with_a_session_is_the_last_that_is_asked_for() -> None:
    asked = iter(["XLON", "XNYS", "XTKS"])
    assert closed_for_the_day(asked, at("2024-12-26T20:00")) is None
    assert list(asked) == ["XTKS"]


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="no time zone"):
        last_closed_session("XNYS", datetime(2013, 2, 28))


def test_a_time_before_the_first_session_is_refused() -> None:
    with pytest.raises(ConfigError, match="before the first known session"):
        last_closed_session("XTKS", at("1996-01-01"))
