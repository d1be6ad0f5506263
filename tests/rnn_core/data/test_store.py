import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from time import sleep

import numpy as np
import pandas as pd
import pytest

from rnn_core.data.answers import Answer
from rnn_core.data.store import OVERLAP, Stored, read, update
from rnn_core.errors import DataError, PricesUnavailable
from tests.rnn_core.data.answering import NOW, START, Yahoo, bring


def test_what_is_stored_is_read_back(tmp_path: Path) -> None:
    yahoo = Yahoo("2013-01-31")
    stored = bring(tmp_path, yahoo, "2013-01-31")
    again = read(tmp_path, "MSFT")
    assert again is not None
    pd.testing.assert_frame_equal(again.frame, stored.frame, check_freq=False)
    assert (again.ticker, again.start, again.fetched_at) == ("MSFT", START, NOW)
    assert read(tmp_path, "AAPL") is None


def test_a_store_that_is_up_to_date_asks_for_nothing(tmp_path: Path) -> None:
    yahoo = Yahoo("2013-01-31")
    bring(tmp_path, yahoo, "2013-01-31")
    bring(tmp_path, yahoo, "2013-01-31")
    bring(tmp_path, yahoo, "2013-01-20", start=date(2013, 1, 10))
    assert yahoo.asked == [START]


def test_a_ticker_younger_than_the_start_is_not_asked_for_again(tmp_path: Path) -> None:
    yahoo = Yahoo("2013-01-31", periods=10)
    bring(tmp_path, yahoo, "2013-01-31", start=date(2000, 1, 1))
    bring(tmp_path, yahoo, "2013-01-31", start=date(2000, 1, 1))
    assert len(yahoo.asked) == 1


def test_only_the_last_few_sessions_are_fetched_again(tmp_path: Path) -> None:
    yesterday, today = Yahoo("2013-01-30"), Yahoo("2013-01-31", periods=61)
    old = bring(tmp_path, yesterday, "2013-01-30")
    new = bring(tmp_path, today, "2013-01-31")
    assert today.asked == [old.frame.index[-OVERLAP].date()]
    pd.testing.assert_frame_equal(new.frame, today.frame.loc[str(START) :], check_freq=False)


def test_rewritten_history_is_fetched_whole(tmp_path: Path) -> None:
    yesterday, today = Yahoo("2013-01-30"), Yahoo("2013-01-31", periods=61)
    bring(tmp_path, yesterday, "2013-01-30")
    today.frame["adj_close"] *= 1 - 1e-5  # a tiny dividend
    new = bring(tmp_path, today, "2013-01-31")
    assert today.asked[1:] == [START]
    pd.testing.assert_frame_equal(new.frame, today.frame.loc[str(START) :], check_freq=False)


def test_rounding_noise_is_not_taken_for_rewritten_history(tmp_path: Path) -> None:
    yesterday, today = Yahoo("2013-01-30"), Yahoo("2013-01-31", periods=61)
    bring(tmp_path, yesterday, "2013-01-30")
    today.frame["adj_close"] = today.frame["adj_close"].astype(np.float32).astype(float) * (
        1 + 6e-8
    )
    bring(tmp_path, today, "2013-01-31")
    assert len(today.asked) == 1


def test_an_earlier_start_fetches_the_whole_history_and_a_later_one_loses_nothing(
    tmp_path: Path,
) -> None:
    yahoo = Yahoo("2013-01-31")
    bring(tmp_path, yahoo, "2013-01-31")
    earlier = bring(tmp_path, yahoo, "2013-01-31", start=date(2012, 12, 1))
    assert yahoo.asked == [START, date(2012, 12, 1)]
    assert earlier.frame.index[0] == pd.Timestamp("2012-12-03")
    later = bring(tmp_path, Yahoo("2013-02-01", periods=61), "2013-02-01", start=date(2013, 1, 20))
    assert later.start == date(2012, 12, 1)


def test_a_session_that_has_not_closed_is_not_stored(tmp_path: Path) -> None:
    assert bring(tmp_path, Yahoo("2013-01-31"), "2013-01-30").frame.index[-1] == pd.Timestamp(
        "2013-01-30"
    )


def test_an_earlier_clock_never_shortens_the_store(tmp_path: Path) -> None:
    yahoo = Yahoo("2013-01-31")
    bring(tmp_path, yahoo, "2013-01-31")
    bring(tmp_path, yahoo, "2013-01-10", start=date(2012, 12, 1))
    stored = read(tmp_path, "MSFT")
    assert stored is not None
    assert stored.frame.index[-1] == pd.Timestamp("2013-01-31")


def test_a_holiday_unknown_to_the_calendar_leaves_the_store_as_it_is(tmp_path: Path) -> None:
    yahoo = Yahoo("2013-01-30")
    old = bring(tmp_path, yahoo, "2013-01-30")
    new = bring(tmp_path, yahoo, "2013-01-31")
    pd.testing.assert_frame_equal(new.frame, old.frame, check_freq=False)


def test_an_empty_answer_is_an_outage_and_leaves_the_file(tmp_path: Path) -> None:
    yahoo = Yahoo("2013-01-30")
    bring(tmp_path, yahoo, "2013-01-30")
    before = (tmp_path / "MSFT.parquet").read_bytes()
    with pytest.raises(PricesUnavailable, match="no prices of MSFT"):
        update(
            tmp_path,
            "MSFT",
            lambda _: replace(yahoo.fetch(START), frame=yahoo.frame[:0]),
            start=START,
            last_session=pd.Timestamp("2013-01-31"),
            exchange="XNYS",
            now=NOW,
        )
    assert (tmp_path / "MSFT.parquet").read_bytes() == before


def test_an_answer_that_covers_less_than_is_stored_is_refused(tmp_path: Path) -> None:
    bring(tmp_path, Yahoo("2013-01-30"), "2013-01-30")
    short = Yahoo("2013-01-31", periods=8)
    short.frame["adj_close"] *= 0.9
    with pytest.raises(PricesUnavailable, match="less than the stored") as refusal:
        bring(tmp_path, short, "2013-01-31")
    assert refusal.value.transient


@pytest.mark.parametrize("damage", [b"", b"PAR1 and then nothing", None])
def test_a_damaged_file_is_warned_of_and_fetched_again(
    tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    yahoo = Yahoo("2013-01-31")
    bring(tmp_path, yahoo, "2013-01-31")
    path = tmp_path / "MSFT.parquet"
    path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path, "MSFT") is None
    assert "MSFT.parquet cannot be read" in caplog.text
    bring(tmp_path, yahoo, "2013-01-31")
    assert read(tmp_path, "MSFT") is not None


def test_a_file_of_someone_else_counts_as_absent(tmp_path: Path) -> None:
    Yahoo("2013-01-31").frame.to_parquet(tmp_path / "MSFT.parquet")
    assert read(tmp_path, "MSFT") is None


def test_a_file_of_another_format_counts_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(tmp_path, Yahoo("2013-01-31"), "2013-01-31")
    monkeypatch.setattr("rnn_core.data.store.FORMAT", 3)
    assert read(tmp_path, "MSFT") is None


def test_prices_that_begin_after_the_last_session_are_none(tmp_path: Path) -> None:
    with pytest.raises(PricesUnavailable, match="on or before 2012-01-02"):
        bring(tmp_path, Yahoo("2013-01-31"), "2012-01-02")
    assert read(tmp_path, "MSFT") is None


def test_a_crash_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = bring(tmp_path, Yahoo("2013-01-30"), "2013-01-30")

    def crash(_: int) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", crash)
        with pytest.raises(DataError, match="cannot be written"):
            bring(tmp_path, Yahoo("2013-01-31", periods=61), "2013-01-31")
    stored = read(tmp_path, "MSFT")
    assert stored is not None
    pd.testing.assert_frame_equal(stored.frame, old.frame, check_freq=False)
    bring(tmp_path, Yahoo("2013-01-31", periods=61), "2013-01-31")
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []


def test_of_many_at_once_only_one_fetches(tmp_path: Path) -> None:
    yahoo = Yahoo("2013-01-31")

    def slow(first_day: date) -> Answer:
        sleep(0.05)
        return yahoo.fetch(first_day)

    def bring_slowly(_: int) -> Stored:
        return update(
            tmp_path,
            "MSFT",
            slow,
            start=START,
            last_session=pd.Timestamp("2013-01-31"),
            exchange="XNYS",
            now=NOW,
        )

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(bring_slowly, range(8)))) == 8
    assert yahoo.asked == [START]
