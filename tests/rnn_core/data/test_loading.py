from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from rnn_core.config import Synthetic, Yahoo
from rnn_core.data.loading import fall_back, load, load_without_asking
from rnn_core.errors import PricesUnavailable
from tests.yahoo_server import YahooServer

NOW = datetime(2026, 11, 20, 22, tzinfo=UTC)
SOURCE = Yahoo(start=date(2026, 3, 1))
REASON = PricesUnavailable("Yahoo gives no prices of MSFT: it rained")


def test_what_is_stored_whole_is_loaded_without_asking(yahoo: YahooServer, tmp_path: Path) -> None:
    early = NOW - timedelta(days=1)
    assert load_without_asking(SOURCE, "MSFT", early, store=tmp_path) is None
    load(SOURCE, "MSFT", early, store=tmp_path)
    yahoo.requests.clear()
    again, prices = (
        get(SOURCE, "MSFT", early, store=tmp_path) for get in (load_without_asking, load)
    )
    assert again is not None
    assert prices is not None
    pd.testing.assert_frame_equal(again.frame, prices.frame)
    assert replace(again, frame=prices.frame) == prices
    assert load_without_asking(SOURCE, "MSFT", NOW, store=tmp_path) is None, "a session is missing"
    earlier_start = SOURCE.model_copy(update={"start": date(2026, 2, 1)})
    assert load_without_asking(earlier_start, "MSFT", early, store=tmp_path) is None
    assert yahoo.requests == []


def test_without_a_fallback_the_reason_is_raised_again(tmp_path: Path) -> None:
    with pytest.raises(PricesUnavailable) as error:
        fall_back(Yahoo(fallback="none"), "MSFT", NOW, REASON, store=tmp_path)
    assert error.value is REASON


def test_stored_prices_are_the_first_to_fall_back_on(yahoo: YahooServer, tmp_path: Path) -> None:
    real = load(SOURCE, "MSFT", NOW, store=tmp_path)
    stored = fall_back(SOURCE, "MSFT", NOW + timedelta(days=3), REASON, store=tmp_path)
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
    load(SOURCE, "MSFT", NOW, store=tmp_path)
    prices = fall_back(Yahoo(), "MSFT", datetime(2020, 1, 2, tzinfo=UTC), REASON, store=tmp_path)
    assert prices.source == "synthetic-fallback"
