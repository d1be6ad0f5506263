"""Which forecasts count as live; every other one is a replay."""

from datetime import date, datetime, timedelta

import pandas as pd

from rnn_core.data.calendars import hours
from rnn_core.data.exchanges import closed_sessions, sessions

AFTER_THE_OPEN = "written after the open"
SEEN = "the champion had seen the session"
NOT_THE_SESSION_BEFORE = "does not rest on the session before"
NOT_CLOSED = "the session before had not closed"
OWN_SESSIONS = "the file's rows are its own sessions"

DAY = timedelta(days=1)
GRACE = timedelta(minutes=10)  # by default, where no forecast can be early
NO_GRACE = timedelta(0)


def replay_reason(
    exchange: str,
    session: date,
    last_session: date,
    *,
    opens_at: datetime,
    made_at: datetime,
    written_at: datetime,
    seen: bool,
    closures: int = 0,
    grace: timedelta = GRACE,
    own_sessions: bool = False,
) -> str | None:
    """Return why a forecast is a replay, all reasons in one line; None if it counts as live.

    A live forecast is written before its session opens, by a champion that has not seen the
    session, and rests on the close of the session before. If a session opens at the moment the one
    before closes, no forecast can be early, and one that is written within `grace` counts.

    Args:
        exchange: MIC of the exchange calendar.
        session: the day that is forecast.
        last_session: the session of the last price that the forecast rests on.
        opens_at: when the session opens.
        made_at: when the forecast was written, or the time set by `--now` if that is later.
        written_at: when it was written, by the machine's clock.
        seen: True if the champion may have learned from prices of the session.
        closures: sessions before it on which the exchange was closed against its calendar.
        grace: time after the open in which a forecast still counts if none can be early.
        own_sessions: True if the prices' own rows are the sessions, and not the exchange's.

    >>> from datetime import UTC
    >>> replay_reason(
    ...     "XNYS", date(2013, 3, 1), date(2013, 2, 28), seen=False,
    ...     opens_at=datetime(2013, 3, 1, 14, 30, tzinfo=UTC),
    ...     made_at=datetime(2013, 3, 1, 14, 35, tzinfo=UTC),
    ...     written_at=datetime(2013, 3, 1, 14, 35, tzinfo=UTC),
    ... )
    'written after the open'
    """
    between = sessions(exchange, last_session + DAY, session - DAY)
    extra_time = grace if opens_as_the_last_closes(exchange, session) else NO_GRACE
    reasons = {
        AFTER_THE_OPEN: made_at >= opens_at + extra_time,
        SEEN: seen,
        NOT_THE_SESSION_BEFORE: len(between) != closures,
        NOT_CLOSED: not _has_closed(exchange, last_session, written_at),
        OWN_SESSIONS: own_sessions,
    }
    return "; ".join(reason for reason, applies in reasons.items() if applies) or None


def opens_as_the_last_closes(exchange: str, session: date) -> bool:
    """Return True if the session opens at the moment the one before it closes.

    >>> opens_as_the_last_closes("24/5", date(2013, 3, 1))  # a Friday
    True
    >>> opens_as_the_last_closes("24/5", date(2013, 3, 4))
    False
    """
    known = hours(exchange).loc[: pd.Timestamp(session)].tail(2)
    return len(known) == 2 and known["open"].iloc[1] == known["close"].iloc[0]


def _has_closed(exchange: str, session: date, at: datetime) -> bool:
    return bool(closed_sessions(pd.DatetimeIndex([session]), exchange, at)[0])
