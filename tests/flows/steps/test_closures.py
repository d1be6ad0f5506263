"""A session counts as an unannounced closure by the machine's own clock, and by no other."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from flows.steps.closures import closures_before
from rnn_core.config import Yahoo
from rnn_core.data.exchanges import sessions
from rnn_core.data.prices import Prices
from rnn_core.errors import DataError
from tests.clock import machine_at
from tests.yahoo_server import sample_frame

THURSDAY_NOON = datetime(2021, 6, 3, 16, tzinfo=UTC)
WEDNESDAY, THURSDAY, FRIDAY = pd.DatetimeIndex(["2021-06-02", "2021-06-03", "2021-06-04"])
DAY = timedelta(days=1)


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prices:
    """Prices of New York to Wednesday, beside an empty price store."""
    monkeypatch.chdir(tmp_path)
    index = sessions("XNYS", datetime(2021, 1, 4, tzinfo=UTC).date(), WEDNESDAY.date())
    return Prices("MSFT", sample_frame(index), "yahoo", "Adj Close", "XNYS")


@pytest.mark.parametrize("ahead", [timedelta(hours=12), DAY, 365 * DAY])
def test_a_clock_set_ahead_makes_no_closure(prices: Prices, ahead: timedelta) -> None:
    with (
        machine_at(THURSDAY_NOON),
        pytest.raises(DataError, match="2021-06-03 has closed since: 2021-06-04 cannot be"),
    ):
        closures_before(FRIDAY, prices, Yahoo(), THURSDAY_NOON + ahead)


def test_a_session_without_a_price_is_a_closure_when_the_next_day_begins(prices: Prices) -> None:
    begins = datetime(2021, 6, 4, 4, tzinfo=UTC)  # midnight in New York
    with machine_at(begins):
        assert list(closures_before(FRIDAY, prices, Yahoo(), begins)) == [THURSDAY]
