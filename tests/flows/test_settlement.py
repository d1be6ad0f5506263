"""An outcome is written when its prices can be believed, and never taken back."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.score import VOID_AFTER, settle
from rnn_core.config import File
from rnn_core.data.loading import load
from rnn_core.data.prices import Prices
from rnn_core.operations.ledger import Ledger
from tests.clock import machine_at
from tests.flows.conftest import AAPL
from tests.rnn_core.operations.forecasts import FORECAST

BEFORE = pd.Timestamp("2012-06-14")
SESSION = pd.Timestamp("2012-06-15")
OPEN = datetime(2012, 6, 15, 13, 30, tzinfo=UTC)
EVENING = datetime(2012, 6, 15, 22, tzinfo=UTC)
ALL = load(File(path=AAPL), "AAPL", datetime(2013, 3, 2, tzinfo=UTC))
CLOSE = ALL.frame["close"]
TRUE_RETURN = float(np.log(CLOSE[SESSION] / CLOSE[BEFORE]))
FACTORS = [100.0, 1 / 100, 1.234, 0.5, 1 / 7]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with (
        machine_at(datetime(2012, 6, 15, tzinfo=UTC)),
        Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened,
    ):
        opened.record(
            replace(
                FORECAST,
                ticker="AAPL",
                session=SESSION.date(),
                last_session=BEFORE.date(),
                learned_to=BEFORE.date(),
                opens_at=OPEN,
                as_of=OPEN - timedelta(hours=15),
            )
        )
        yield opened


def prices(until: int, **corrupted: float) -> Prices:
    """Return the prices up to so many sessions after SESSION, those of some days multiplied."""
    frame = ALL.frame.copy()
    for day, factor in corrupted.items():
        frame.loc[{"before": BEFORE, "session": SESSION}[day], "close"] *= factor
    last = frame.index.get_loc(SESSION) + until
    return Prices("AAPL", frame.iloc[: last + 1], "file", "Adj Close", "XNYS")


def settled(ledger: Ledger, known: Prices) -> tuple[Any, Any]:
    """Settle the forecast; return the alarm, and the row afterwards."""
    [row] = ledger.forecasts("AAPL").itertuples()
    alarm = settle(ledger, known, row, EVENING)
    [after] = ledger.forecasts("AAPL").itertuples()
    return alarm, after


def test_a_plausible_close_settles_at_once(ledger: Ledger) -> None:
    alarm, row = settled(ledger, prices(0))
    assert alarm is None
    assert row.next_return == TRUE_RETURN
    assert row.up == (TRUE_RETURN > 0)


@pytest.mark.parametrize("factor", FACTORS)
def test_a_bad_tick_waits_and_settles_rightly_once_it_is_corrected(
    ledger: Ledger, factor: float
) -> None:
    for until in range(3):  # the session itself, then those that show that it was a bad tick
        alarm, row = settled(ledger, prices(until, session=factor))
        assert alarm.kind == "settlement"
        assert "2012-06-15" in alarm.text
        assert f"{CLOSE[SESSION] * factor:g}" in alarm.text
        assert pd.isna(row.settled_at)
    alarm, row = settled(ledger, prices(3))
    assert alarm is None
    assert row.next_return == TRUE_RETURN


@pytest.mark.parametrize("factor", FACTORS)
def test_a_bad_tick_at_the_close_before_waits_too(ledger: Ledger, factor: float) -> None:
    alarm, row = settled(ledger, prices(0, before=factor))
    assert alarm.kind == "settlement"
    assert "2012-06-14" in alarm.text
    assert pd.isna(row.settled_at)
    assert settled(ledger, prices(1))[1].next_return == TRUE_RETURN


def test_a_bad_tick_that_is_never_corrected_is_void(ledger: Ledger) -> None:
    assert pd.isna(settled(ledger, prices(VOID_AFTER - 1, session=100.0))[1].settled_at)
    alarm, row = settled(ledger, prices(VOID_AFTER, session=100.0))
    assert alarm is None
    assert pd.notna(row.settled_at)
    assert pd.isna(row.up)


def test_a_real_crash_is_settled_when_the_next_session_confirms_it(ledger: Ledger) -> None:
    def crashed(until: int) -> Prices:
        frame = ALL.frame.copy()
        frame.loc[SESSION:, "close"] *= 0.5
        last = frame.index.get_loc(SESSION) + until
        return Prices("AAPL", frame.iloc[: last + 1], "file", "Adj Close", "XNYS")

    alarm, row = settled(ledger, crashed(0))
    assert alarm.kind == "settlement"
    assert pd.isna(row.settled_at)
    alarm, row = settled(ledger, crashed(1))
    assert alarm is None
    assert row.next_return == pytest.approx(TRUE_RETURN + np.log(0.5))


@pytest.mark.parametrize(
    ("day", "factor"), [("session", 0.84), ("session", 1.25), ("before", 0.84)]
)
def test_a_jump_undone_the_next_day_counts_if_the_source_keeps_it_and_it_is_not_wild(
    ledger: Ledger, day: str, factor: float
) -> None:
    for until in range(1, VOID_AFTER):
        alarm, row = settled(ledger, prices(until, **{day: factor}))
        assert alarm.kind == "settlement"
        assert pd.isna(row.settled_at)
    alarm, row = settled(ledger, prices(VOID_AFTER, **{day: factor}))
    assert alarm is None
    sign = 1 if day == "session" else -1
    assert row.next_return == pytest.approx(TRUE_RETURN + sign * np.log(factor))


@pytest.mark.parametrize("day", ["session", "before"])
@pytest.mark.parametrize("factor", [100.0, 1 / 100, 10.0, 0.5, 1 / 7])
def test_a_wild_jump_undone_the_next_day_is_void_for_good(
    ledger: Ledger, day: str, factor: float
) -> None:
    alarm, row = settled(ledger, prices(VOID_AFTER, **{day: factor}))
    assert alarm is None
    assert pd.notna(row.settled_at)
    assert pd.isna(row.up)
