import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yfinance

from rnn_core.config import Yahoo
from rnn_core.data.exchanges import sessions
from rnn_core.data.loading import fall_back, load
from rnn_core.data.prices import Prices
from rnn_core.data.store import read, stored_tickers
from rnn_core.data.ticks import doubtful
from rnn_core.data.yahoo import tidy
from rnn_core.errors import PricesUnavailable
from tests import yahoo_server as server
from tests.yahoo_server import YahooServer, sample_frame, yahoo_server

NOW = datetime(2026, 11, 20, 22, tzinfo=UTC)
BEFORE_THE_CLOSE = datetime(2026, 11, 20, 20, 59, tzinfo=UTC)


def from_yahoo(store: Path, now: datetime = NOW, **options: object) -> Prices:
    return load(Yahoo.model_validate({"start": "2026-03-01", **options}), "MSFT", now, store=store)


def unavailable(store: Path) -> PricesUnavailable:
    with pytest.raises(PricesUnavailable) as error:
        from_yahoo(store)
    assert "\n" not in str(error.value)
    return error.value


def test_yahoo_gives_adjusted_prices_by_session(yahoo: YahooServer, tmp_path: Path) -> None:
    prices = from_yahoo(tmp_path)
    served = yahoo.frame.loc["2026-03-01":]
    assert (prices.source, prices.column, prices.fetched_at) == ("yahoo", "Adj Close", NOW)
    assert prices.warnings == ()
    assert list(prices.frame.index) == list(served.index)
    np.testing.assert_allclose(prices.frame["close"], served["adj_close"])
    np.testing.assert_allclose(prices.frame["open"], served["open"] * 0.99)
    np.testing.assert_allclose(prices.frame["volume"], served["volume"])
    assert [path for path, _ in yahoo.requests] == ["/v8/finance/chart/MSFT"]


def test_tickers_cost_one_request_each_and_yfinances_download_of_several_no_fewer(
    yahoo: YahooServer, tmp_path: Path
) -> None:
    tickers = ["A", "B", "C"]
    for ticker in tickers:
        load(Yahoo(start=date(2026, 1, 2)), ticker, NOW, store=tmp_path)
    assert [path.rsplit("/", 1)[1] for path, _ in yahoo.requests] == tickers
    yahoo.requests.clear()
    downloaded = yfinance.download(
        tickers, start="2026-01-02", auto_adjust=False, progress=False, threads=False
    )
    assert len(downloaded) == len(yahoo.frame)
    assert len(yahoo.requests) >= len(tickers)


def test_sessions_are_days_in_tokyo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    index = sessions("XTKS", date(2026, 10, 1), date(2026, 11, 20))
    with yahoo_server(monkeypatch, sample_frame(index), zone="Asia/Tokyo", opens_at="09:00"):
        prices = load(Yahoo(), "7203.T", NOW, store=tmp_path)
    assert list(prices.frame.index) == list(index)


def test_the_next_day_asks_only_for_what_is_new(yahoo: YahooServer, tmp_path: Path) -> None:
    from_yahoo(tmp_path, NOW - timedelta(days=1))
    prices = from_yahoo(tmp_path)
    again = from_yahoo(tmp_path)
    assert yahoo.first_days() == ["2026-03-01", "2026-11-13"]
    assert prices.frame.index[-1] == pd.Timestamp("2026-11-20")
    assert again.sha256 == prices.sha256


def test_many_tickers_are_fetched_at_once(yahoo: YahooServer, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        every = list(pool.map(lambda n: load(Yahoo(), f"T{n}", NOW, store=tmp_path), range(16)))
    assert {prices.sha256 for prices in every} == {every[0].sha256}
    assert len(yahoo.requests) == 16


def test_history_that_yahoo_rewrote_is_fetched_again(yahoo: YahooServer, tmp_path: Path) -> None:
    from_yahoo(tmp_path, NOW - timedelta(days=1))
    yahoo.frame.loc[:"2026-11-19", "adj_close"] *= 0.98
    prices = from_yahoo(tmp_path)
    assert yahoo.first_days() == ["2026-03-01", "2026-11-13", "2026-03-01"]
    np.testing.assert_allclose(prices.frame["close"], yahoo.frame.loc["2026-03-01":, "adj_close"])


def test_an_unfinished_bar_is_neither_used_nor_stored(yahoo: YahooServer, tmp_path: Path) -> None:
    unfinished = from_yahoo(tmp_path, BEFORE_THE_CLOSE)
    assert unfinished.frame.index[-1] == pd.Timestamp("2026-11-19")
    yahoo.frame.loc["2026-11-20", ["close", "adj_close"]] = 123.0
    assert from_yahoo(tmp_path).frame["close"].iloc[-1] == 123.0


@pytest.mark.parametrize("columns", [["close", "adj_close"], ["open", "close", "adj_close"]])
@pytest.mark.parametrize("factor", [100, 0.01, 10, 2, 1.5, 1.3, 0.7, 1.1, 0.9])
def test_an_implausible_new_close_is_named_at_once_doubted_and_healed(
    yahoo: YahooServer, tmp_path: Path, factor: float, columns: list[str]
) -> None:
    truth = yahoo.frame.copy()
    from_yahoo(tmp_path, NOW - timedelta(days=2))
    yahoo.frame.loc["2026-11-19", columns] *= factor
    first_seen = from_yahoo(tmp_path, NOW - timedelta(days=1))
    assert len(first_seen.warnings) == 1
    assert "2026-11-19" in first_seen.warnings[0]
    assert doubtful(first_seen.frame["close"].to_numpy())[-1]
    yahoo.frame = truth
    healed = from_yahoo(tmp_path)
    assert healed.warnings == ()
    np.testing.assert_allclose(healed.frame["close"], truth.loc["2026-03-01":, "adj_close"])


def test_rows_without_a_close_are_dropped_with_a_warning(
    yahoo: YahooServer, tmp_path: Path
) -> None:
    yahoo.frame.loc["2026-11-20"] = np.nan
    yahoo.frame.loc["2026-05-05", ["close", "adj_close"]] = np.nan
    prices = from_yahoo(tmp_path)
    dropped, missing = prices.warnings
    assert dropped == "Yahoo's rows without a close were dropped: sessions 2026-05-05, 2026-11-20"
    assert missing.startswith("MSFT: no price of the XNYS sessions 2026-05-05; a move over them")
    assert not prices.frame["close"].isna().any()
    assert prices.frame.index[-1] == pd.Timestamp("2026-11-19")


def test_doubled_days_leave_one_row_a_day(yahoo: YahooServer, tmp_path: Path) -> None:
    yahoo.frame = pd.concat(
        [yahoo.frame, yahoo.frame.loc[["2026-05-05", "2026-11-20"]]]
    ).sort_index()
    assert from_yahoo(tmp_path).frame.index.is_unique


def test_any_frame_of_yfinance_is_flattened() -> None:
    index = pd.DatetimeIndex(["2026-05-04", "2026-05-05", "2026-05-05"], tz="Asia/Seoul")
    columns = pd.MultiIndex.from_product(
        [["Adj Close", "Close", "High", "Low", "Open", "Volume"], ["MSFT"]]
    )
    frame, warnings = tidy(pd.DataFrame(1 + np.arange(18.0).reshape(3, 6), index, columns))
    assert frame.to_dict("list") == {
        "open": [5, 17],
        "close": [2, 14],
        "adj_close": [1, 13],
        "volume": [6, 18],
    }
    assert list(frame.index) == [pd.Timestamp("2026-05-04"), pd.Timestamp("2026-05-05")]
    assert warnings == ["Yahoo's rows given twice were dropped: sessions 2026-05-05"]


def test_infinite_closes_are_dropped_with_a_warning() -> None:
    index = pd.DatetimeIndex(["2026-05-04", "2026-05-05", "2026-05-06"], tz="America/New_York")
    table = pd.DataFrame(
        {"Open": 1.0, "Close": 1.0, "Adj Close": [1, np.inf, 1], "Volume": 1}, index
    )
    frame, warnings = tidy(table)
    assert len(frame) == 2
    assert warnings == [
        "Yahoo's rows with a close that is no positive number were dropped: sessions 2026-05-05"
    ]


def test_an_empty_frame_of_yfinance_stays_empty() -> None:
    frame, warnings = tidy(pd.DataFrame())
    assert (len(frame), warnings) == (0, [])


@pytest.mark.parametrize(
    "outage", [server.TOO_MANY_REQUESTS, server.SERVER_ERROR, server.JSON_SERVER_ERROR]
)
def test_after_a_passing_outage_asking_again_helps(
    yahoo: YahooServer, tmp_path: Path, outage: server.Answer
) -> None:
    yahoo.answers = [outage] * 4  # two loads of two requests each
    assert unavailable(tmp_path).transient
    assert unavailable(tmp_path).transient
    assert from_yahoo(tmp_path).source == "yahoo"


def test_a_page_instead_of_prices_is_an_outage(yahoo: YahooServer, tmp_path: Path) -> None:
    yahoo.answers = [server.CONSENT_PAGE]
    reason = unavailable(tmp_path)
    assert "not JSON" in str(reason)
    assert reason.transient


@pytest.mark.parametrize("answer", [server.EMPTY, server.UNKNOWN_TICKER])
def test_an_unknown_ticker_is_not_worth_asking_again(
    yahoo: YahooServer, tmp_path: Path, answer: server.Answer
) -> None:
    yahoo.answers = [answer, answer]
    reason = unavailable(tmp_path)
    assert "MSFT" in str(reason)
    assert not reason.transient


def test_a_ticker_without_prices_since_the_start_is_unavailable(
    yahoo: YahooServer, tmp_path: Path
) -> None:
    yahoo.frame = yahoo.frame.loc[:"2026-02-01"]
    assert not unavailable(tmp_path).transient


def test_no_network_is_the_same_failure_every_time(
    yahoo: YahooServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yfinance.scrapers.history._BASE_URL_", "http://127.0.0.1:9")
    for _ in range(2):
        assert not unavailable(tmp_path).transient


def test_a_slow_answer_is_given_up_after_the_timeout(
    yahoo: YahooServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yahoo, "delay", 0.6)
    with pytest.raises(PricesUnavailable) as error:
        from_yahoo(tmp_path, timeout=0.2)
    assert error.value.transient


def test_yfinance_does_not_log_what_is_raised(
    yahoo: YahooServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    yahoo.answers = [server.SERVER_ERROR] * 2
    with caplog.at_level(logging.WARNING, logger="rnn_core"):
        unavailable(tmp_path)
    assert caplog.records == []


@pytest.mark.parametrize("column", ["close", "adj_close"])
@pytest.mark.parametrize("price", [0.0, -1.0])
def test_a_close_that_is_no_price_is_named_and_never_stored(
    yahoo: YahooServer, tmp_path: Path, column: str, price: float
) -> None:
    yahoo.frame.loc["2026-05-05", column] = price
    prices = from_yahoo(tmp_path)
    assert prices.warnings[0] == (
        "Yahoo's rows with a close that is no positive number were dropped: sessions 2026-05-05"
    )
    stored = read(tmp_path, "MSFT")
    assert stored is not None
    assert stored.missing == {date(2026, 5, 5)}
    assert (stored.frame[["close", "adj_close"]] > 0).all(axis=None)


def test_prices_of_another_symbol_are_refused(yahoo: YahooServer, tmp_path: Path) -> None:
    yahoo.symbol = "MSTR"
    reason = unavailable(tmp_path)
    assert str(reason) == "Yahoo answers with prices of 'MSTR', not of MSFT"
    assert stored_tickers(tmp_path) == []


def test_a_ticker_may_be_written_in_small_letters(yahoo: YahooServer, tmp_path: Path) -> None:
    assert load(Yahoo(start=date(2026, 3, 1)), "msft", NOW, store=tmp_path).source == "yahoo"


def test_prices_in_another_currency_are_refused(yahoo: YahooServer, tmp_path: Path) -> None:
    from_yahoo(tmp_path, NOW - timedelta(days=1))
    yahoo.currency = "GBp"
    assert str(unavailable(tmp_path)) == (
        "Yahoo answers with prices of MSFT in GBp, but those stored are in USD; "
        f"remove {tmp_path}/MSFT.parquet if the answer is right"
    )


def test_what_the_answer_says_of_splits_and_dividends_is_believed_by_one_request(
    yahoo: YahooServer, tmp_path: Path
) -> None:
    from_yahoo(tmp_path, NOW - timedelta(days=1))
    yahoo.requests.clear()
    closes = ["open", "close", "adj_close"]
    yahoo.frame[closes] /= 3
    yahoo.frame.loc[:"2026-11-19", "adj_close"] *= 0.6
    yahoo.splits["2026-11-20"] = 3.0
    yahoo.dividends["2026-11-20"] = 0.4 * float(yahoo.frame.loc["2026-11-19", "close"])
    prices = from_yahoo(tmp_path)
    assert len(yahoo.requests) == 2  # the last sessions, then the whole history
    np.testing.assert_allclose(prices.frame["close"], yahoo.frame.loc["2026-03-01":, "adj_close"])


def test_a_history_off_by_a_factor_falls_back_on_what_is_stored(
    yahoo: YahooServer, tmp_path: Path
) -> None:
    before = from_yahoo(tmp_path, NOW - timedelta(days=1))
    yahoo.frame[["open", "close", "adj_close"]] *= 100
    reason = unavailable(tmp_path)
    assert "are about 100 times those stored" in str(reason)
    stored = fall_back(Yahoo(start=date(2026, 3, 1)), "MSFT", NOW, reason, store=tmp_path)
    assert (stored.source, stored.sha256) == ("yahoo-stored", before.sha256)
