"""Prices that runs saw come back bit for bit, cost little, and are never quietly others."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rnn_core.data import parquet, vintages
from rnn_core.data.prices import Prices
from rnn_core.errors import DataError

COLUMNS = ["close", "open", "volume"]
THIRTEEN_YEARS = 3270


def walk(days: int, seed: int = 0) -> pd.DataFrame:
    """Return prices, of which a longer walk starts with a shorter one."""
    rngs = np.random.default_rng(seed).spawn(3)
    index = pd.bdate_range("2000-01-03", periods=days, name="date").as_unit("us")
    close = 100 * np.exp(np.cumsum(rngs[0].normal(0, 0.01, days)))
    opening = close * np.exp(rngs[1].normal(0, 0.003, days))
    volume = rngs[2].uniform(1e5, 1e7, days)
    return pd.DataFrame({"close": close, "open": opening, "volume": volume}, index)


def prices(frame: pd.DataFrame, ticker: str = "MSFT") -> Prices:
    return Prices(ticker, frame, "yahoo", "Adj Close", "XNYS")


def bits(frame: pd.DataFrame) -> bytes:
    return frame.to_numpy("<f8").tobytes()


def assert_comes_back(frame: pd.DataFrame, root: Path) -> Path:
    """Keep a frame, assert that it is read with the same bits, and return its file."""
    path = vintages.keep(prices(frame), root)
    again = vintages.read(prices(frame).sha256, root)
    pd.testing.assert_frame_equal(again, frame, check_exact=True, check_freq=False)
    assert bits(again) == bits(frame)
    assert prices(again).sha256 == path.stem
    return path


def is_base(path: Path) -> bool:
    return parquet.notes_of(path)["base"] is None


def age(root: Path) -> None:
    """Let every vintage be kept two days ago."""
    for path in root.glob("*.parquet"):
        os.utime(path, (0, time.time() - 2 * vintages.YOUNG))


any_bits = arrays(
    "<u8", st.tuples(st.integers(2, 30), st.integers(1, 3)), elements=st.integers(0, 2**64 - 1)
)


@settings(max_examples=60, deadline=None)
@given(
    values=any_bits,
    changes=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 2**64 - 1)), max_size=4),
    left_out=st.sets(st.integers(0, 29), max_size=4),
    more=st.integers(0, 4),
    units=st.tuples(*[st.sampled_from(["s", "ms", "us", "ns"])] * 2),
)
def test_any_bits_come_back_whole_or_as_differences(
    tmp_path_factory: pytest.TempPathFactory,
    values: np.ndarray,
    changes: list[tuple[int, int]],
    left_out: set[int],
    more: int,
    units: tuple[str, str],
) -> None:
    """NaN of any bits, infinities and −0.0 too; rows changed, left out anywhere and added."""
    root = tmp_path_factory.mktemp("vintages")
    days = len(values) + more
    frame = pd.DataFrame(
        np.resize(values, (days, values.shape[1])).view("<f8"),
        pd.bdate_range("2020-01-01", periods=days, name="date").as_unit(units[0]),
        COLUMNS[: values.shape[1]],
    )
    assert is_base(assert_comes_back(frame[: len(values)], root))
    later = frame.copy()
    for row, content in changes:
        later.iloc[row % days, 0] = np.array(content, "<u8").view("<f8")
    kept = [row for row in range(days) if row not in left_out]
    later = later.iloc[kept].set_axis(pd.DatetimeIndex(later.index[kept]).as_unit(units[1]))
    if len(later) and prices(later).sha256 != prices(frame[: len(values)]).sha256:
        assert_comes_back(later, root)
        assert_comes_back(frame[: len(values)], root)


def test_a_year_of_daily_retrains_costs_at_most_20_kb_a_day(tmp_path: Path) -> None:
    """Thirteen years of prices, 250 retrains, a dividend each quarter that rescales them all."""
    frame = walk(THIRTEEN_YEARS + 250)
    shas = []
    for day in range(250):
        if day % 63 == 30:
            frame = frame.assign(close=frame["close"] * 0.993, open=frame["open"] * 0.993)
        seen = frame[: THIRTEEN_YEARS + day]
        shas.append(vintages.keep(prices(seen), tmp_path).stem)
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len([path for path in files if path.suffix == ".parquet"]) == 250
    a_day = sum(path.stat().st_size for path in files) / 250
    assert a_day <= 7_500, f"{a_day:.0f} bytes"
    assert all(prices(vintages.read(sha, tmp_path)).sha256 == sha for sha in shas)
    assert {parquet.notes_of(path)["base"] for path in tmp_path.glob("*.parquet")} <= {
        None,
        *(path.stem for path in tmp_path.glob("*.parquet") if is_base(path)),
    }, "no differences from differences"


def test_a_history_that_moves_along_costs_no_more(tmp_path: Path) -> None:
    """The last 2,520 sessions, as synthetic prices and exported files have them."""
    frame = walk(2520 + 60)
    paths = [vintages.keep(prices(frame[day : day + 2520]), tmp_path) for day in range(60)]
    assert [path for path in paths if is_base(path)] == paths[:1]


def test_other_prices_of_the_ticker_in_between_make_no_new_base(tmp_path: Path) -> None:
    """A later start and an earlier end are parts of the base, not differences from it."""
    frame = walk(3000)
    whole = assert_comes_back(frame, tmp_path)
    for part in (frame[2000:], frame[:500], frame[1000:1500]):
        path = assert_comes_back(part, tmp_path)
        assert parquet.notes_of(path)["base"] == whole.stem
        assert path.stat().st_size < 5_000


def test_columns_that_are_retrained_in_turn_have_a_base_each(tmp_path: Path) -> None:
    """Whether the source's column is another one, or the frame has others, named in any way."""
    frame = walk(THIRTEEN_YEARS + 3)
    kinds = {"Adj Close": COLUMNS, "Close/Last": COLUMNS, "c" * 300: COLUMNS, "Price": ["close"]}
    for day in range(3):
        for number, (column, names) in enumerate(kinds.items()):
            seen = frame.mul(1 + number)[names][: THIRTEEN_YEARS + day]
            path = vintages.keep(replace(prices(seen), column=column), tmp_path)
            assert is_base(path) == (day == 0)


def test_a_session_without_any_number_is_not_taken_for_one_that_the_base_lacks(
    tmp_path: Path,
) -> None:
    frame = walk(300)
    frame.iloc[100] = np.nan
    assert_comes_back(frame.drop(frame.index[100]), tmp_path)
    assert not is_base(assert_comes_back(frame, tmp_path))


def test_other_columns_are_another_base(tmp_path: Path) -> None:
    frame = walk(300)
    assert_comes_back(frame, tmp_path)
    assert is_base(assert_comes_back(frame[["close"]], tmp_path))
    assert is_base(assert_comes_back(frame[["open", "close", "volume"]], tmp_path))


def test_the_same_prices_are_written_once(tmp_path: Path) -> None:
    frame = walk(300)
    path = vintages.keep(prices(frame), tmp_path)
    written = path.stat().st_ino
    assert vintages.keep(prices(frame, "ANOTHER"), tmp_path) == path
    assert path.stat().st_ino == written


def test_pandas_reads_a_base_without_us(tmp_path: Path) -> None:
    frame = walk(300)
    path = vintages.keep(prices(frame), tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame, check_exact=True, check_freq=False)


@pytest.mark.parametrize("which", ["base", "differences"])
def test_a_flipped_bit_is_found_or_changes_nothing(tmp_path: Path, which: str) -> None:
    base = vintages.keep(prices(walk(300)), tmp_path)
    differences = vintages.keep(prices(walk(301)), tmp_path)
    flipped = base if which == "base" else differences
    content = flipped.read_bytes()
    reasons = []
    for place in np.linspace(0, len(content) - 1, 300, dtype=int):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        flipped.write_bytes(damaged)
        try:
            again = vintages.read(differences.stem, tmp_path)
        except DataError as refusal:
            reasons.append(str(refusal))
        else:
            assert bits(again) == bits(walk(301))
    assert len(reasons) > 50
    assert [reason for reason in reasons if str(flipped) not in reason] == []


def with_one_price_changed(path: Path) -> None:
    """Write a whole and valid file of other prices, as by hand."""
    frame, notes = parquet.parsed(path.read_bytes())
    frame.iloc[0, 0] = np.nextafter(frame.iloc[0, 0], np.inf)
    path.write_bytes(parquet.content(frame, notes))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a changed price": (with_one_price_changed, "is damaged: its prices have the SHA-256"),
    "half a file": (lambda path: os.truncate(path, 1000), "is damaged"),
    "an empty file": (lambda path: os.truncate(path, 0), "is damaged"),
    "no file": (Path.unlink, "no such file"),
}


@pytest.mark.parametrize("which", ["base", "differences"])
@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_or_missing_vintage_is_one_line_and_healed_by_the_same_prices(
    tmp_path: Path, which: str, damage: Callable[[Path], object], reason: str
) -> None:
    base = vintages.keep(prices(walk(301)[:300]), tmp_path)
    differences = vintages.keep(prices(walk(301)), tmp_path)
    damaged = base if which == "base" else differences
    damage(damaged)
    with pytest.raises(DataError, match=reason) as refusal:
        vintages.read(differences.stem, tmp_path)
    assert str(damaged) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert_comes_back(walk(301), tmp_path)
    assert_comes_back(walk(301)[:300], tmp_path)
    assert_comes_back(walk(302), tmp_path)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path: Path) -> None:
    path = vintages.path_of(prices(walk(300)).sha256, tmp_path)
    unfinished = tmp_path / f".{path.name}.unfinished"
    unfinished.symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"No space left on device") as refusal:
        vintages.keep(prices(walk(300)), tmp_path)
    assert "\n" not in str(refusal.value)
    assert [left.name for left in tmp_path.iterdir()] in ([".lock"], [])
    assert_comes_back(walk(300), tmp_path)


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    root = tmp_path / "vintages"
    root.write_text("not a folder")
    with pytest.raises(DataError, match=r"vintages: cannot be written to \(File exists\)"):
        vintages.keep(prices(walk(300)), root)


def test_what_is_needed_and_what_that_rests_on_is_not_deleted(tmp_path: Path) -> None:
    frames = [walk(300 + day) for day in range(4)]
    other = walk(300, seed=1)
    base, *differences = [vintages.keep(prices(frame), tmp_path).stem for frame in frames]
    alone = vintages.keep(prices(other, "OTHER"), tmp_path).stem
    everything = {base, *differences, alone}
    assert vintages.delete(everything, tmp_path) == (0, 5), "their runs may just be starting"
    age(tmp_path)
    (tmp_path / ".x.parquet.unfinished").touch()
    assert vintages.delete(everything - {differences[0]}, tmp_path) == (3, 2)
    assert {path.stem for path in tmp_path.glob("*.parquet")} == {base, differences[0]}
    assert not list(tmp_path.glob("*.unfinished"))
    assert_comes_back(frames[1], tmp_path)
    age(tmp_path)
    assert vintages.delete(everything, tmp_path) == (2, 0)
    assert_comes_back(frames[2], tmp_path)
    assert vintages.delete([base], tmp_path / "absent") == (0, 0)


def test_a_vintage_that_is_kept_again_is_young_again(tmp_path: Path) -> None:
    sha256 = vintages.keep(prices(walk(300)), tmp_path).stem
    age(tmp_path)
    vintages.keep(prices(walk(300)), tmp_path)
    assert vintages.delete([sha256], tmp_path) == (0, 1)


def test_where_they_came_from_is_no_content(tmp_path: Path) -> None:
    known = prices(walk(300))
    fetched = replace(known, fetched_at=datetime(2020, 1, 1, tzinfo=UTC), source="yahoo-stored")
    assert vintages.keep(known, tmp_path) == vintages.keep(fetched, tmp_path)
