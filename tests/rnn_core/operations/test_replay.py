"""Which forecasts count as live, held against the rule as it is written down."""

from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_core.data.calendars import hours
from rnn_core.operations.ledger import Forecast
from rnn_core.operations.replay import (
    AFTER_THE_OPEN,
    NOT_CLOSED,
    NOT_THE_SESSION_BEFORE,
    OWN_SESSIONS,
    SEEN,
    opens_as_the_last_closes,
)

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def forecast(exchange: str, session: str, last_session: str, **changed: object) -> Forecast:
    day, before = date.fromisoformat(session), date.fromisoformat(last_session)
    opens_at = hours(exchange).loc[session, "open"].tz_convert("UTC").to_pydatetime()
    values: dict[str, object] = {
        "ticker": "ANY",
        "exchange": exchange,
        "session": day,
        "last_session": before,
        "opens_at": opens_at,
        "model_version": 1,
        "run_id": "run",
        "learned_to": before,
        "probability": 0.5,
        "spread": None,
        "verdict": "skill",
        "data_source": "yahoo",
        "data_sha256": "0" * 64,
        "promised_accuracy": None,
        "promised_low": None,
        "promised_high": None,
        "promised_log_loss": None,
        "as_of": datetime(1990, 1, 1, tzinfo=UTC),
    }
    return Forecast(**(values | changed))  # type: ignore[arg-type]


def reason(
    said: Forecast,
    written: timedelta,
    *,
    grace: timedelta = 10 * MINUTE,
    own_sessions: bool = False,
) -> object:
    """Why `said`, written `written` after the open, is a replay."""
    row = said.row(said.opens_at + written, grace=grace, own_sessions=own_sessions)
    return row["replay"]


def test_a_forecast_before_the_open_is_live_and_one_at_the_open_is_none() -> None:
    said = forecast("XNYS", "2013-03-01", "2013-02-28")
    assert reason(said, -SECOND) is None
    assert reason(said, 0 * SECOND) == AFTER_THE_OPEN


def test_now_makes_a_forecast_later_and_never_earlier() -> None:
    said = forecast("XNYS", "2013-03-01", "2013-02-28")
    later = forecast("XNYS", "2013-03-01", "2013-02-28", as_of=said.opens_at + SECOND)
    earlier = forecast("XNYS", "2013-03-01", "2013-02-28", as_of=said.opens_at - 99 * MINUTE)
    assert reason(later, -5 * MINUTE) == AFTER_THE_OPEN
    assert reason(earlier, 5 * MINUTE) == AFTER_THE_OPEN
    row = earlier.row(said.opens_at + 5 * MINUTE, grace=MINUTE, own_sessions=False)
    assert (row["as_of"], row["made_at"]) == (earlier.as_of, said.opens_at + 5 * MINUTE)
    assert row["delay"] == 300


def test_a_forecast_from_a_close_that_has_not_come_is_a_replay() -> None:
    said = forecast("XNYS", "2013-03-01", "2013-02-28")
    close = hours("XNYS").loc["2013-02-28", "close"] - said.opens_at
    assert reason(said, close) is None
    assert reason(said, close - SECOND) == NOT_CLOSED


@pytest.mark.parametrize("learned_to", ["2013-03-01", "2013-03-28"])
def test_a_champion_that_has_seen_the_session_makes_replays(learned_to: str) -> None:
    seen = {"learned_to": date.fromisoformat(learned_to)}
    assert reason(forecast("XNYS", "2013-03-01", "2013-02-28", **seen), -SECOND) == SEEN
    assert reason(forecast("XNYS", "2013-03-01", "2013-02-28", **seen), SECOND) == (
        f"{AFTER_THE_OPEN}; {SEEN}"
    )


def test_a_forecast_rests_on_the_session_before_except_closures() -> None:
    assert reason(forecast("XNYS", "2013-03-04", "2013-03-01"), -SECOND) is None
    assert reason(forecast("XNYS", "2013-03-04", "2013-02-28"), -SECOND) == NOT_THE_SESSION_BEFORE
    closed = forecast("XNYS", "2013-03-04", "2013-02-28", closures=1)
    assert reason(closed, -SECOND) is None
    for wrong in ({"closures": 2}, {"closures": 0}):
        said = forecast("XNYS", "2013-03-04", "2013-02-28", **wrong)
        assert reason(said, -SECOND) == NOT_THE_SESSION_BEFORE


def test_prices_whose_rows_are_their_own_sessions_make_replays() -> None:
    said = forecast("XNYS", "2013-03-01", "2013-02-28")
    assert reason(said, -SECOND, own_sessions=True) == OWN_SESSIONS


@pytest.mark.parametrize(
    ("exchange", "session", "last_session", "counts"),
    [
        ("24/7", "2013-03-01", "2013-02-28", True),
        ("24/7", "2013-03-03", "2013-03-02", True),
        ("24/5", "2013-03-01", "2013-02-28", True),
        ("24/5", "2013-03-04", "2013-03-01", False),  # a Monday: the weekend was time enough
        ("CMES", "2013-03-06", "2013-03-05", True),
        ("IEPA", "2013-03-06", "2013-03-05", False),
        ("XNYS", "2013-03-01", "2013-02-28", False),
    ],
)
def test_grace_is_for_sessions_that_open_as_the_last_one_closes(
    exchange: str, session: str, last_session: str, counts: bool
) -> None:
    said = forecast(exchange, session, last_session)
    assert opens_as_the_last_closes(exchange, said.session) == counts
    assert (reason(said, 5 * MINUTE) is None) == counts
    assert reason(said, 10 * MINUTE) == AFTER_THE_OPEN
    assert (reason(said, 10 * MINUTE, grace=11 * MINUTE) is None) == counts
    assert reason(said, 0 * MINUTE, grace=0 * MINUTE) == AFTER_THE_OPEN


@settings(derandomize=True, deadline=None, max_examples=400)
@given(
    exchange=st.sampled_from(["XNYS", "24/7", "24/5"]),
    number=st.integers(5000, 5300),
    before=st.integers(1, 3),
    learned=st.integers(-3, 2),
    closures=st.integers(0, 2),
    as_of=st.integers(-3000, 60),
    machine=st.integers(-3000, 60),
    grace=st.sampled_from([0, 10, 60]),
    own=st.booleans(),
)
def test_a_forecast_is_live_if_and_only_if_the_rule_holds(
    exchange: str,
    number: int,
    before: int,
    learned: int,
    closures: int,
    as_of: int,
    machine: int,
    grace: int,
    own: bool,
) -> None:
    """Times are minutes after the open; sessions are counted by the calendar itself."""
    calendar = hours(exchange)
    days = calendar.index
    opens_at = pd.Timestamp(calendar["open"].iloc[number])
    said = forecast(
        exchange,
        str(days[number].date()),
        str(days[number - before].date()),
        learned_to=days[number + learned].date(),
        closures=closures,
        as_of=(opens_at + as_of * MINUTE).to_pydatetime(),
    )
    extra = grace if opens_at == calendar["close"].iloc[number - 1] else 0
    live = (
        (max(as_of, machine) < extra)
        and learned < 0
        and before - 1 == closures
        and calendar["close"].iloc[number - before] <= opens_at + machine * MINUTE
        and not own
    )
    found = reason(said, machine * MINUTE, grace=grace * MINUTE, own_sessions=own)
    assert (found is None) == live
