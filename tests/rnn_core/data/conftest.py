"""A local Yahoo, for whoever asks it for prices of MSFT."""

from collections.abc import Iterator
from datetime import date

import pytest

from rnn_core.data.exchanges import sessions
from tests.yahoo_server import YahooServer, sample_frame, yahoo_server


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch) -> Iterator[YahooServer]:
    with yahoo_server(
        monkeypatch, sample_frame(sessions("XNYS", date(2026, 1, 1), date(2026, 11, 20)))
    ) as running:
        yield running
