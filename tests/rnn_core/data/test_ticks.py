"""Bad ticks are named whatever their factor, and a market's own crashes are not."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnn_core.config import File
from rnn_core.data.loading import load
from rnn_core.data.synthetic import random_walk
from rnn_core.data.ticks import bad_ticks, far_moves, implausible, undone_jumps, wild_jumps

NOW = datetime(2013, 3, 2, tzinfo=UTC)
DATA = Path(__file__).parents[2] / "data"
CLOSES = {
    ticker: pd.read_csv(DATA / f"{ticker}.csv", index_col="Date", parse_dates=True)["Adj Close"]
    for ticker in ("AAPL", "MSFT")
}
FACTORS = (100, 0.01, 10, 1 / 1234.5, 1.5, 1 / 1.5, 2)
ROWS = (1500, 700, 3000)


def spoiled(ticker: str, row: int, factor: float) -> np.ndarray:
    close = CLOSES[ticker].to_numpy(copy=True)
    close[row] *= factor
    return close


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("ticker", CLOSES)
def test_a_jump_that_is_undone_is_marked_alone(ticker: str, row: int, factor: float) -> None:
    close = spoiled(ticker, row, factor)
    np.testing.assert_array_equal(np.flatnonzero(undone_jumps(close)), [row])
    np.testing.assert_array_equal(np.flatnonzero(bad_ticks(close)), [row])


@pytest.mark.parametrize(
    ("factor", "wild"), [(100, True), (0.5, True), (0.87, False), (1.2, False)]
)
@pytest.mark.parametrize("row", ROWS)
def test_only_a_jump_far_outside_the_series_is_wild(row: int, factor: float, wild: bool) -> None:
    close = spoiled("MSFT", row, factor)
    assert undone_jumps(close)[row]
    assert np.flatnonzero(wild_jumps(close)).tolist() == [row] * wild


def test_each_of_several_jumps_that_are_undone_is_marked() -> None:
    close = CLOSES["MSFT"].to_numpy(copy=True)
    close[[1000, 1002, 1004]] *= 10
    np.testing.assert_array_equal(np.flatnonzero(bad_ticks(close)), [1000, 1002, 1004])


@pytest.mark.parametrize("ticker", CLOSES)
def test_thirteen_real_years_hold_no_bad_tick(ticker: str) -> None:
    """Apple lost 52 % on 2000-09-29, and did not get it back."""
    assert not bad_ticks(CLOSES[ticker].to_numpy()).any()


def test_a_move_far_outside_the_series_is_marked_if_it_stays_too() -> None:
    close = CLOSES["MSFT"].to_numpy(copy=True)
    close[2000:] *= 3
    np.testing.assert_array_equal(np.flatnonzero(far_moves(close)), [2000])
    assert not undone_jumps(close).any()


def test_random_walks_with_clustered_or_heavy_tailed_moves_hold_few() -> None:
    """Less than one in ten years, of 100 years each."""
    years = 100
    rng = np.random.default_rng(0)
    clustered = random_walk(252 * years, 0.0, np.random.SeedSequence(0))["close"].to_numpy()
    heavy = np.exp(np.cumsum(0.01 * rng.standard_t(3, 252 * years)))
    assert not bad_ticks(clustered).any()
    assert bad_ticks(heavy).sum() < years / 10


@pytest.mark.parametrize(
    "close",
    [[1.0], [1.0, 2.0], [5.0] * 40, [5.0] * 40 + [5.001], list(np.exp(1e-4 * np.arange(300)))],
)
def test_series_that_hardly_move_hold_none(close: list[float]) -> None:
    assert not bad_ticks(np.array(close)).any()


def test_a_price_that_seldom_moves_is_held_against_its_moves() -> None:
    close = np.repeat(np.exp(np.cumsum(0.01 * np.random.default_rng(1).normal(size=60))), 5)
    assert not bad_ticks(close).any()
    close[150] *= 1.5
    np.testing.assert_array_equal(np.flatnonzero(bad_ticks(close)), [150])


@pytest.mark.parametrize("factor", FACTORS)
def test_an_implausible_last_close_waits(factor: float) -> None:
    for row in ROWS:
        close = spoiled("MSFT", row, factor)
        assert implausible(close[: row + 1])
        assert undone_jumps(close[: row + 2])[-2]


def test_the_last_close_of_a_real_series_is_almost_always_plausible() -> None:
    close = CLOSES["AAPL"].to_numpy()
    doubted = [row for row in range(250, len(close)) if implausible(close[: row + 1])]
    assert len(doubted) <= 3  # each waits a session; of 3,020


@pytest.mark.parametrize("close", [0.0, -1.0, np.nan, np.inf])
def test_a_close_that_is_no_price_is_implausible(close: float) -> None:
    assert implausible(np.append(CLOSES["AAPL"].to_numpy(), close))


@pytest.mark.parametrize("factor", FACTORS)
def test_a_file_names_its_bad_tick_once(tmp_path: Path, factor: float) -> None:
    closes = CLOSES["AAPL"].rename("Close")
    closes.iloc[1500] *= factor
    closes.to_csv(tmp_path / "prices.csv")
    prices = load(File(path=tmp_path / "prices.csv"), "AAPL", NOW)
    tick, day_after = closes.index[1500:1502].strftime("%Y-%m-%d")
    assert [warning for warning in prices.warnings if tick in warning] == [
        f"{tmp_path / 'prices.csv'}: column 'Close' jumps and is back the next session, "
        f"as by a bad tick, in sessions {tick}; correct it"
    ]
    assert not any(day_after in warning for warning in prices.warnings)


def test_a_file_names_a_move_far_outside_its_range(tmp_path: Path) -> None:
    closes = CLOSES["MSFT"].rename("Close")
    closes.iloc[2000:] *= 6  # no usual split ratio
    closes.to_csv(tmp_path / "prices.csv")
    (warning,) = load(File(path=tmp_path / "prices.csv"), "MSFT", NOW).warnings
    assert f"far outside its usual range in sessions {closes.index[2000]:%Y-%m-%d};" in warning


@pytest.mark.parametrize("factor", [1.2, 0.8])
def test_a_file_names_an_implausible_last_close_until_the_next_session(
    tmp_path: Path, factor: float
) -> None:
    closes = CLOSES["MSFT"].rename("Close")
    closes.iloc[2000:] *= factor
    last = f"{closes.index[2000]:%Y-%m-%d}"
    assert not bad_ticks(closes.to_numpy()[:2001]).any()
    closes.iloc[:2001].to_csv(tmp_path / "prices.csv")
    (warning,) = load(File(path=tmp_path / "prices.csv"), "MSFT", NOW).warnings
    assert f"jumps implausibly in sessions {last}, the last one; the next one will tell" in warning
    closes.iloc[:2002].to_csv(tmp_path / "prices.csv")
    assert load(File(path=tmp_path / "prices.csv"), "MSFT", NOW).warnings == ()
