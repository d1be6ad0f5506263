"""A stored file that was damaged in any bit, half written or renamed never gives wrong prices."""

import json
import logging
import shutil
import tarfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rnn_core.data import parquet
from rnn_core.data.parquet import NOTES
from rnn_core.data.store import read, stored_tickers, update
from rnn_core.errors import DataError
from tests.rnn_core.data.answering import NOW, START, Yahoo, bring

ARCHIVE = Path(__file__).parents[2] / "data" / "written-by-0.1.0.tar.gz"
PRESENT = "MSFT.parquet"
PREVIOUS = ".MSFT.previous.parquet"
WEDNESDAY = "2013-01-30"
THURSDAY = "2013-01-31"


def bring_twice(root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Store two generations, and return the frames of both."""
    old = bring(root, Yahoo(WEDNESDAY), WEDNESDAY)
    new = bring(root, Yahoo(THURSDAY, periods=61), THURSDAY)
    return old.frame, new.frame


def last_stored(root: Path) -> str | None:
    stored = read(root, "MSFT")
    return None if stored is None else f"{stored.frame.index[-1]:%Y-%m-%d}"


def test_of_500_flipped_bits_none_gives_wrong_prices(tmp_path: Path) -> None:
    """Anywhere in the file: pages, schema, notes, footer."""
    whole = bring(tmp_path, Yahoo(THURSDAY, periods=500), THURSDAY)
    path = tmp_path / PRESENT
    content = path.read_bytes()
    refused = 0
    places = np.random.default_rng(0).choice(8 * len(content), 500, replace=False)
    footer = 8 * (len(content) - 1500)  # half of the flips in the last of the file
    places[:250] = footer + places[:250] % (8 * 1500)
    for place in places:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        stored = read(tmp_path, "MSFT")
        if stored is None:
            refused += 1
            continue
        pd.testing.assert_frame_equal(stored.frame, whole.frame, check_freq=False)
        for name in ("currency", "start", "fetched_at", "whole_at", "missing"):
            assert getattr(stored, name) == getattr(whole, name)
    assert refused > 100  # the others hit what the prices do not need, such as statistics


def test_the_generation_before_is_kept_and_is_no_ticker(tmp_path: Path) -> None:
    old, _ = bring_twice(tmp_path)
    assert stored_tickers(tmp_path) == ["MSFT"]
    shutil.copy(tmp_path / PREVIOUS, tmp_path / PRESENT)
    stored = read(tmp_path, "MSFT")
    assert stored is not None
    pd.testing.assert_frame_equal(stored.frame, old, check_freq=False)


def test_instead_of_a_damaged_file_the_one_before_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bring_twice(tmp_path)
    (tmp_path / PRESENT).write_bytes(b"PAR1")
    with caplog.at_level(logging.WARNING):
        assert last_stored(tmp_path) == WEDNESDAY
    assert "MSFT.parquet cannot be read" in caplog.text
    assert "MSFT.previous.parquet is read instead, which ends on 2013-01-30" in caplog.text


def test_a_damaged_file_does_not_become_the_generation_before(tmp_path: Path) -> None:
    bring_twice(tmp_path)
    (tmp_path / PRESENT).write_bytes(b"PAR1")
    friday = Yahoo("2013-02-01", periods=62)
    bring(tmp_path, friday, "2013-02-01")
    assert len(friday.asked) == 1  # only the last sessions
    assert last_stored(tmp_path) == "2013-02-01"
    (tmp_path / PRESENT).write_bytes(b"PAR1")
    assert last_stored(tmp_path) == WEDNESDAY


def test_if_both_are_damaged_the_prices_are_fetched_whole(tmp_path: Path) -> None:
    bring_twice(tmp_path)
    for name in (PRESENT, PREVIOUS):
        (tmp_path / name).write_bytes(b"")
    assert read(tmp_path, "MSFT") is None
    again = Yahoo(THURSDAY, periods=61)
    bring(tmp_path, again, THURSDAY)
    assert again.asked == [START]
    assert not (tmp_path / PREVIOUS).exists()


def test_a_removed_file_is_fetched_whole_and_judged_by_nothing(tmp_path: Path) -> None:
    bring_twice(tmp_path)
    (tmp_path / PRESENT).unlink()
    other = Yahoo(THURSDAY, periods=61)
    other.currency = "EUR"
    assert bring(tmp_path, other, THURSDAY).currency == "EUR"
    assert not (tmp_path / PREVIOUS).exists()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("done", [False, True])
def test_a_kill_at_any_step_of_writing_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, nth: int, done: bool
) -> None:
    bring(tmp_path, Yahoo(WEDNESDAY), WEDNESDAY)
    calls = 0
    real = Path.replace if "Path" in step else __import__("os").fsync

    def killed(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == nth and not done:
            raise Killed
        result = real(*arguments)
        if calls == nth:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(step, killed)
        with pytest.raises(Killed):
            bring(tmp_path, Yahoo(THURSDAY, periods=61), THURSDAY)
    assert last_stored(tmp_path) in (WEDNESDAY, THURSDAY)
    assert stored_tickers(tmp_path) == ["MSFT"]
    bring(tmp_path, Yahoo(THURSDAY, periods=61), THURSDAY)
    assert last_stored(tmp_path) == THURSDAY


@pytest.mark.parametrize("renamed", ["AAPL", "msft"])
def test_a_file_under_the_name_of_another_ticker_counts_as_absent(
    tmp_path: Path, renamed: str, caplog: pytest.LogCaptureFixture
) -> None:
    bring(tmp_path, Yahoo(THURSDAY), THURSDAY)
    (tmp_path / PRESENT).rename(tmp_path / f"{renamed}.parquet")
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path, renamed) is None
    assert "it holds the prices of MSFT" in caplog.text


def test_a_changed_note_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bring(tmp_path, Yahoo(THURSDAY), THURSDAY)
    table = pq.read_table(tmp_path / PRESENT)
    notes = json.loads(table.schema.metadata[NOTES]) | {"currency": "EUR"}
    pq.write_table(
        table.replace_schema_metadata({NOTES: json.dumps(notes).encode()}), tmp_path / PRESENT
    )
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path, "MSFT") is None
    assert "its checksum is wrong" in caplog.text


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A price store that version 0.1.0 has written."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "data" / "prices"


def test_a_file_of_version_0_1_0_is_read_and_is_due(older: Path) -> None:
    stored = read(older, "OLDER")
    assert stored is not None
    assert len(stored.frame) > 200
    assert (stored.currency, stored.whole_at) == (None, None)
    assert stored.is_due(stored.fetched_at)


@pytest.mark.parametrize("price", [0.0, -3.0, np.inf, np.nan])
def test_a_bad_close_that_version_0_1_0_has_stored_heals(older: Path, price: float) -> None:
    """It was refused for ever."""
    path = older / "OLDER.parquet"
    table = pq.read_table(path)
    good = table.to_pandas()
    bad = good.copy()
    bad.iloc[100, bad.columns.get_loc("adj_close")] = price
    spoiled = table.from_pandas(bad).replace_schema_metadata(table.schema.metadata)
    pq.write_table(spoiled, path)
    stored = read(older, "OLDER")
    assert stored is not None
    assert len(stored.frame) == len(good) - 1
    yahoo = Yahoo(THURSDAY)
    yahoo.symbol = "OLDER"
    yahoo.frame = good
    healed = update(
        older,
        "OLDER",
        yahoo.fetch,
        start=stored.start,
        last_session=good.index[-1] + timedelta(days=1),
        exchange="XNYS",
        now=NOW,
    )
    assert yahoo.asked == [stored.start]
    pd.testing.assert_frame_equal(healed.frame, good, check_freq=False)
    assert healed.currency == "USD"


def test_a_full_disk_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "replace", full)
    with pytest.raises(DataError, match=r"MSFT\.parquet cannot be written \(No space left"):
        bring(tmp_path, Yahoo(WEDNESDAY), WEDNESDAY)
