import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yfinance
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_core.config import File, Synthetic, Yahoo
from rnn_core.data.exchanges import sessions
from rnn_core.data.loading import _tidy, fall_back, load, load_without_asking, random_walk
from rnn_core.data.prices import Prices
from rnn_core.errors import DataError, PricesUnavailable
from tests import yahoo_server as server
from tests.yahoo_server import YahooServer, sample_frame, yahoo_server

AAPL = Path(__file__).parents[2] / "data" / "AAPL.csv"
NOW = datetime(2026, 11, 20, 22, tzinfo=UTC)
BEFORE_THE_CLOSE = datetime(2026, 11, 20, 20, 59, tzinfo=UTC)
SESSIONS = sessions("XNYS", date(2026, 1, 1), date(2026, 11, 20))


# A file


@pytest.fixture
def csv(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "prices.csv"
        path.write_text(text)
        return path

    return write


def from_file(path: Path, now: datetime = NOW, **options: str) -> Prices:
    return load(File.model_validate({"path": path, **options}), "MSFT", now)


def refusal(path: Path, **options: str) -> str:
    with pytest.raises(DataError) as error:
        from_file(path, NOW, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_gives_its_adjusted_close_with_the_open_adjusted_alike() -> None:
    prices = from_file(AAPL)
    raw = pd.read_csv(AAPL)
    assert (prices.source, prices.column, prices.exchange, prices.warnings) == (
        "file",
        "Adj Close",
        "XNYS",
        (),
    )
    assert list(prices.frame.columns) == ["close", "open", "volume"]
    assert prices.frame["close"].tolist() == raw["Adj Close"].tolist()
    np.testing.assert_allclose(
        prices.frame["open"] / prices.frame["close"], raw["Open"] / raw["Close"]
    )
    assert prices.frame.index[0] == pd.Timestamp("2000-03-01")
    assert prices.frame.index.name == "date"


def test_an_unadjusted_close_warns_of_its_splits_by_date() -> None:
    (warning,) = from_file(AAPL, price_column="Close").warnings
    assert "unadjusted split in sessions 2000-06-21, 2005-02-28;" in warning


def test_splits_are_seen_without_an_open_too(tmp_path: Path) -> None:
    pd.read_csv(AAPL)[["Date", "Close"]].to_csv(tmp_path / "close.csv", index=False)
    (warning,) = from_file(tmp_path / "close.csv").warnings
    assert "2000-06-21" in warning
    assert "2005-02-28" in warning


@pytest.mark.parametrize("index", [True, False])
def test_parquet_and_csv_of_the_same_prices_are_the_same_prices(
    tmp_path: Path, index: bool
) -> None:
    table = pd.read_csv(AAPL, parse_dates=["Date"])
    (table.set_index("Date") if index else table).to_parquet(tmp_path / "prices.parquet")
    assert from_file(tmp_path / "prices.parquet").sha256 == from_file(AAPL).sha256


def test_a_file_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    pd.read_csv(AAPL).to_parquet(tmp_path / "prices.csv")
    assert from_file(tmp_path / "prices.csv").sha256 == from_file(AAPL).sha256


def test_a_parquet_index_without_a_name_is_the_date(tmp_path: Path) -> None:
    pd.DataFrame({"price": [1.0, 2.0]}, pd.DatetimeIndex(["2013-01-02", "2013-01-03"])).to_parquet(
        tmp_path / "a"
    )
    assert from_file(tmp_path / "a").column == "price"


def test_an_earlier_clock_sees_only_the_past() -> None:
    prices = from_file(AAPL, datetime(2005, 2, 28, 20, tzinfo=UTC))
    assert prices.frame.index[-1] == pd.Timestamp("2005-02-25")


def test_another_value_session_or_column_is_another_hash(csv: Callable[[str], Path]) -> None:
    texts = ("day,close\n2013-01-02,1\n2013-01-03,2\n", "day,close\n2013-01-02,1\n2013-01-04,2\n")
    others = (
        "day,close\n2013-01-02,1\n2013-01-03,3\n",
        "day,close,volume\n2013-01-02,1,1\n2013-01-03,2,1\n",
    )
    assert len({from_file(csv(text)).sha256 for text in (*texts, *others)}) == 4


@pytest.mark.parametrize(
    "dates",
    [
        ("2013-01-02", "2013-01-31"),
        ("20130102", "20130131"),
        ("2013/01/02", "2013/01/31"),
        ("01/02/2013", "01/31/2013"),
        ("02/01/2013", "31/01/2013"),
        ("2.1.2013", "31.1.2013"),
        ("2013-01-02 00:00:00-05:00", "2013-01-31 00:00:00-05:00"),
        ("2013-01-02T14:30:00Z", "2013-01-31T14:30:00Z"),
        ("2013-01-03T01:00:00Z", "2013-02-01T01:00:00Z"),
    ],
)
def test_dates_are_read_in_the_usual_ways_as_days_on_the_exchange(
    csv: Callable[[str], Path], dates: tuple[str, str]
) -> None:
    prices = from_file(csv(f"Date,Close\n{dates[0]},1\n{dates[1]},2\n"))
    assert list(prices.frame.index) == [pd.Timestamp("2013-01-02"), pd.Timestamp("2013-01-31")]


def test_numbers_in_parquet_may_be_dates(tmp_path: Path) -> None:
    pd.DataFrame({"date": [20130102, 20130103], "close": [1.0, 2.0]}).to_parquet(tmp_path / "a")
    assert from_file(tmp_path / "a").frame.index[1] == pd.Timestamp("2013-01-03")


def test_an_unsorted_file_is_sorted_with_a_warning(csv: Callable[[str], Path]) -> None:
    prices = from_file(csv("date,close\n2013-01-03,2.1\n2013-01-02,2\n\n"))
    assert prices.frame["close"].tolist() == [2.0, 2.1]
    assert "sorted" in prices.warnings[0]


def test_an_open_of_zero_is_an_unknown_open(csv: Callable[[str], Path]) -> None:
    prices = from_file(csv("date,open,close\n2013-01-02,0,1\n2013-01-03,1.1,1.2\n"))
    assert prices.frame["open"].isna().tolist() == [True, False]
    assert "open is unknown in sessions 2013-01-02" in prices.warnings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("date,close\n", "has no rows"),
        ("date,close\n2013-01-02,1\n", "has 1 of the sessions closed by 2026-11-20"),
        ("date,close\n2030-01-02,1\n2030-01-03,2\n", "has 0 of the sessions closed by 2026-11-20"),
        ("when,close\n2013-01-02,1\n", "no date column by a usual name; its columns are 'when', 'close'"),
        ("date,value\n2013-01-02,1\n", "no price column by a usual name; its columns are 'date', 'value'"),
        ("date,close\n2013-01-02,1\n2013-01-03,abc\n", "column 'close' has 'abc', not a number, in lines 3"),
        ("date,close\n2013-01-02,1\n\n2013-01-03,\n", "column 'close' has no price (nan of 2013-01-03) in lines 4"),
        ("date,close\n2013-01-02,inf\n2013-01-03,2\n", "has an infinite price (inf of 2013-01-02) in lines 2"),
        ("date,close\n2013-01-02,-1\n2013-01-03,0\n", "has a price of zero or less (-1 of 2013-01-02) in lines 2, 3"),
        ("date,close\n2013-01-02,1\n2013-01-02,2\n", "a second price of the same date (1 of 2013-01-02) in lines 2, 3"),
        ("date,close\n2013-01-02,1\nsoon,2\n", "column 'date' has 'soon', not a date, in lines 3; write dates as YYYY"),
        ("date,close\n2013-01-02,1\n,2\n", "column 'date' has nan, not a date, in lines 3"),
        ("date,close\n2013-02-30,1\n2013-01-03,2\n", "'2013-02-30', not a date, in lines 2"),
        ("date,close\n1357102800,1\n1357189200,2\n", "'1357102800', not a date, in lines 2, 3"),
        ("date,close\n01/02/2013,1\n01/03/2013,2\n", "column 'date' may put day or month first"),
        ("date,close\n2013-01-02,7\n2013-01-03,7\n", "column 'close' is 7 in all 2 sessions"),
        ("date,close\n2013-01-02,1\n2013-01-03,1,234\n", "in line 3"),
        ("date,close\n2013-01-02,1,234\n2013-01-03,1,235\n", "rows have more fields than the header"),
    ],
)  # fmt: skip
def test_an_unfit_file_is_refused_in_one_line(
    csv: Callable[[str], Path], text: str, message: str
) -> None:
    path = csv(text)
    refused = refusal(path)
    assert refused.startswith(str(path))
    assert message in refused


def test_only_the_first_of_many_bad_rows_are_named(csv: Callable[[str], Path]) -> None:
    rows = "".join(f"2013-01-{day:02},x\n" for day in range(1, 21))
    assert "in lines 2, 3, 4, 5, 6 and 15 more" in refusal(csv(f"date,close\n{rows}"))


def test_a_named_column_must_be_there(csv: Callable[[str], Path]) -> None:
    path = csv("date,close,vwap\n2013-01-02,1,1\n2013-01-03,2,3\n")
    assert from_file(path, price_column="vwap").frame["close"].tolist() == [1, 3]
    assert "has no column 'Close'; its columns are 'date', 'close', 'vwap'" in refusal(
        path, price_column="Close"
    )


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "none.csv")
    for content in (bytes(range(256)) * 9, b"PAR1 and then nothing"):
        (tmp_path / "garbage").write_bytes(content)
        assert "cannot be read as CSV or Parquet" in refusal(tmp_path / "garbage")


# A generator


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


# Yahoo


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch) -> Iterator[YahooServer]:
    with yahoo_server(monkeypatch, sample_frame(SESSIONS)) as running:
        yield running


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
    assert len(downloaded) == len(SESSIONS)
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


def test_what_is_stored_whole_is_loaded_without_asking(yahoo: YahooServer, tmp_path: Path) -> None:
    early = NOW - timedelta(days=1)
    source = Yahoo(start=date(2026, 3, 1))
    assert load_without_asking(source, "MSFT", early, store=tmp_path) is None
    load(source, "MSFT", early, store=tmp_path)
    yahoo.requests.clear()
    again, prices = (
        get(source, "MSFT", early, store=tmp_path) for get in (load_without_asking, load)
    )
    assert again is not None
    assert prices is not None
    pd.testing.assert_frame_equal(again.frame, prices.frame)
    assert replace(again, frame=prices.frame) == prices
    assert load_without_asking(source, "MSFT", NOW, store=tmp_path) is None, "a session is missing"
    earlier_start = source.model_copy(update={"start": date(2026, 2, 1)})
    assert load_without_asking(earlier_start, "MSFT", early, store=tmp_path) is None
    assert yahoo.requests == []


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


def test_rows_without_a_close_are_dropped_with_a_warning(
    yahoo: YahooServer, tmp_path: Path
) -> None:
    yahoo.frame.loc["2026-11-20"] = np.nan
    yahoo.frame.loc["2026-05-05", ["close", "adj_close"]] = np.nan
    prices = from_yahoo(tmp_path)
    assert prices.warnings == (
        "Yahoo's rows without a close were dropped: sessions 2026-05-05, 2026-11-20",
    )
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
    frame, warnings = _tidy(pd.DataFrame(np.arange(18.0).reshape(3, 6), index, columns))
    assert frame.to_dict("list") == {
        "open": [4, 16],
        "close": [1, 13],
        "adj_close": [0, 12],
        "volume": [5, 17],
    }
    assert list(frame.index) == [pd.Timestamp("2026-05-04"), pd.Timestamp("2026-05-05")]
    assert warnings == ["Yahoo's rows given twice were dropped: sessions 2026-05-05"]


def test_an_empty_frame_of_yfinance_stays_empty() -> None:
    frame, warnings = _tidy(pd.DataFrame())
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


def test_a_price_below_zero_from_yahoo_is_refused_by_date(
    yahoo: YahooServer, tmp_path: Path
) -> None:
    yahoo.frame.loc["2026-05-05", "adj_close"] = -1
    with pytest.raises(
        DataError, match=r"MSFT: column 'Adj Close' .*\(-1 of 2026-05-05\).*set source.start"
    ):
        from_yahoo(tmp_path)


# When Yahoo cannot be had

REASON = PricesUnavailable("Yahoo gives no prices of MSFT: it rained")


def test_without_a_fallback_the_reason_is_raised_again(tmp_path: Path) -> None:
    with pytest.raises(PricesUnavailable) as error:
        fall_back(Yahoo(fallback="none"), "MSFT", NOW, REASON, store=tmp_path)
    assert error.value is REASON


def test_stored_prices_are_the_first_to_fall_back_on(yahoo: YahooServer, tmp_path: Path) -> None:
    real = from_yahoo(tmp_path)
    stored = fall_back(
        Yahoo(start=date(2026, 3, 1)), "MSFT", NOW + timedelta(days=3), REASON, store=tmp_path
    )
    assert stored.source == "yahoo-stored"
    assert stored.sha256 == real.sha256
    assert stored.fetched_at == NOW
    assert stored.warnings == (f"using prices stored 3 days ago, because {REASON}",)


def test_without_stored_prices_synthetic_ones_say_so_loudly(tmp_path: Path) -> None:
    prices = fall_back(Yahoo(), "MSFT", NOW, REASON, store=tmp_path)
    assert prices.source == "synthetic-fallback"
    assert "NOT REAL" in prices.warnings[0]
    assert str(REASON) in prices.warnings[0]
    assert prices.sha256 == load(Synthetic(), "MSFT", NOW).sha256


def test_stored_prices_from_after_now_are_no_fallback(yahoo: YahooServer, tmp_path: Path) -> None:
    from_yahoo(tmp_path)
    prices = fall_back(Yahoo(), "MSFT", datetime(2020, 1, 2, tzinfo=UTC), REASON, store=tmp_path)
    assert prices.source == "synthetic-fallback"
