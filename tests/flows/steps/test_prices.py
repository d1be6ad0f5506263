"""Yahoo is asked for what the machine's own clock allows, whatever `--now` says."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from flows.steps import prices
from rnn_core.config import Yahoo
from rnn_core.data.exchanges import sessions
from rnn_core.data.loading import STORE
from rnn_core.data.store import read
from tests.clock import machine_at
from tests.yahoo_server import sample_frame, yahoo_server

AT_NOON = datetime(2021, 6, 3, 16, tzinfo=UTC)  # New York is open
WEDNESDAY = pd.Timestamp("2021-06-02")
SOURCE = Yahoo(start=date(2021, 1, 4))


@pytest.mark.parametrize("ahead", [timedelta(hours=8), timedelta(days=1), timedelta(days=7300)])
def test_a_session_is_not_closed_by_a_clock_set_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = sample_frame(sessions("XNYS", SOURCE.start, AT_NOON.date()))
    with yahoo_server(monkeypatch, frame), machine_at(AT_NOON):
        found = prices.fetch_prices.fn(SOURCE, "MSFT", AT_NOON + ahead)
    assert found.frame.index[-1] == WEDNESDAY
    stored = read(STORE, "MSFT")
    assert stored is not None
    assert stored.frame.index[-1] == WEDNESDAY
    assert (stored.fetched_at, stored.whole_at) == (AT_NOON, AT_NOON)


def test_a_clock_set_back_sees_only_the_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = sample_frame(sessions("XNYS", SOURCE.start, AT_NOON.date()))
    with yahoo_server(monkeypatch, frame), machine_at(AT_NOON):
        found = prices.fetch_prices.fn(SOURCE, "MSFT", AT_NOON - timedelta(days=1))
    assert found.frame.index[-1] == pd.Timestamp("2021-06-01")
