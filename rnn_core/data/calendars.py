"""When each session of an exchange opens and closes: the calendar library, corrected where it errs.

No source of sessions is right alone. `corrections.csv` lists the days on which we know better than
the library, each with its public source; a test holds every exchange of the suffix table against
two other sources and decides each disagreement.
"""

import logging
from contextlib import suppress
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.offsets import CustomBusinessDay

from rnn_core.data import parquet
from rnn_core.errors import ConfigError

logger = logging.getLogger(__name__)

KEPT = Path("data/calendars")
FORMAT = 4  # of the kept files: a number in their names
FIRST_DAY = pd.Timestamp("1990-01-01")
LAST_DAY = pd.Timestamp("2049-12-31")
CORRECTIONS = Path(__file__).with_name("corrections.csv")

CROPS = {"XCBT": "CMES", "IFUS": "IEPA"}
"""MIC of a market of crops or livestock → the calendar of futures beside it, which the library has.
On the holidays that these trade for half a day crops do not trade at all."""

MEXICO_KEEPS_STANDARD_TIME = pd.Timestamp("2022-10-31")  # the first session without summer time


@lru_cache
def hours(exchange: str) -> pd.DataFrame:
    """Return `open` and `close` of every session, in the exchange's time zone, by naive midnight.

    They are kept in memory and on disk, because some calendars take seconds to build. A file that
    cannot be read is built again.

    Raises:
        ConfigError: the library cannot build the calendar.
    """
    kept = KEPT / f"{exchange}-{version('exchange-calendars')}-{FORMAT}.parquet"
    sessions = _read(kept) if kept.exists() else None
    if sessions is None:
        sessions = _built(exchange)
        with suppress(OSError):  # where nothing can be written, it is built every time
            _keep(sessions, kept)
    return _corrected(exchange, sessions)


def midnights(days: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    """Return when each day begins in the zone.

    Where clocks change at midnight, one a year does not exist and another comes twice.
    """
    return days.tz_localize(zone, ambiguous=np.zeros(len(days), bool), nonexistent="shift_forward")


def corrections(exchange: str) -> pd.DataFrame:
    """Return our table of an exchange, indexed by day (a naive midnight).

    Its columns are `opens`, `closes` (local times, empty if closed), `reason` and `source`.
    """
    table = pd.read_csv(CORRECTIONS, parse_dates=["day"], keep_default_na=False)
    return table[table["exchange"] == exchange].set_index("day").drop(columns="exchange")


def _read(path: Path) -> pd.DataFrame | None:
    try:
        moments, notes = parquet.parsed(path.read_bytes())
        if notes["file"] != path.name:
            raise ValueError(f"it is a copy of {notes['file']}")
        utc = moments[["open", "close"]].rename_axis(None)
        local = {name: utc[name].dt.tz_localize("UTC").dt.tz_convert(notes["zone"]) for name in utc}
        return pd.DataFrame(local)
    except parquet.UNREADABLE as error:
        logger.warning("%s cannot be read and is built again: %s", path, str(error).splitlines()[0])
        return None


def _keep(sessions: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    notes = {"file": path.name, "zone": str(sessions["close"].dt.tz)}
    utc = {name: sessions[name].dt.tz_convert("UTC").dt.tz_localize(None) for name in sessions}
    parquet.replace(path, parquet.content(pd.DataFrame(utc).rename_axis("date"), notes))


def _corrected(exchange: str, sessions: pd.DataFrame) -> pd.DataFrame:
    """Return the hours with the corrections of our table, and of the rule for Mexico."""
    if exchange == "XMEX":
        sessions = _with_new_yorks_clock(sessions)
    table = corrections(exchange)
    if table.empty:
        return sessions
    special = table[table["opens"] != ""]
    zone = str(sessions["close"].dt.tz)
    added = pd.DataFrame(
        {
            "open": _local_times(special["opens"], zone),
            "close": _local_times(special["closes"], zone),
        },
        index=special.index,
    )
    kept = sessions.drop(table.index, errors="ignore")
    return pd.concat([kept, added]).sort_index().astype(sessions.dtypes.to_dict())


def _local_times(times: "pd.Series[str]", zone: str) -> pd.DatetimeIndex:
    """Return the moments of local `times` (such as 09:15) on the days of their index."""
    days = pd.DatetimeIndex(times.index)
    moments = pd.DatetimeIndex(days + pd.to_timedelta(times.to_numpy() + ":00"))
    return moments.tz_localize(zone)


def _with_new_yorks_clock(sessions: pd.DataFrame) -> pd.DataFrame:
    """Return Mexico's hours an hour earlier while New York has summer time.

    Mexico has had none since October 2022, and its exchange follows the hours of New York.
    """
    noon = (pd.DatetimeIndex(sessions.index) + pd.Timedelta(hours=12)).tz_localize(
        "America/New_York"
    )
    summer = np.array([moment.dst() != pd.Timedelta(0) for moment in noon])
    earlier = summer & np.asarray(sessions.index >= MEXICO_KEEPS_STANDARD_TIME)
    moved = sessions.copy()
    moved[earlier] -= pd.Timedelta(hours=1)
    return moved


def _without_new_yorks_holidays(found: pd.DataFrame) -> pd.DataFrame:
    """Leave out New York's regular holidays; a day that a storm closes New York is none."""
    regular = _calendar("XNYS").regular_holidays.holidays(FIRST_DAY, LAST_DAY)
    return found[~found.index.isin(regular)]


def _built(exchange: str) -> pd.DataFrame:
    """Return the hours as the calendar library has them, continued by weekdays.

    Where a calendar ends (Shanghai's knows only the current year) weekdays from midnight to
    midnight follow, so that an outdated library does not end the sessions unnoticed.
    """
    if exchange in CROPS:
        return _without_new_yorks_holidays(hours(CROPS[exchange]))
    calendar = _calendar(exchange)
    weekdays = pd.bdate_range(calendar.last_session, LAST_DAY, inclusive="right")
    next_days = weekdays + pd.Timedelta(days=1)
    return pd.DataFrame(
        {
            "open": _continued(calendar.opens, weekdays, weekdays, str(calendar.tz)),
            "close": _continued(calendar.closes, weekdays, next_days, str(calendar.tz)),
        }
    )


def _continued(
    known: "pd.Series[pd.Timestamp]",
    sessions: pd.DatetimeIndex,
    days: pd.DatetimeIndex,
    zone: str,
) -> "pd.Series[pd.Timestamp]":
    """Return the known hours, then for each further session the midnight when its day begins."""
    return pd.concat([known.dt.tz_convert(zone), pd.Series(midnights(days, zone), sessions)])


def _calendar(exchange: str) -> Any:
    kind = _calendar_class(exchange)
    start = max(FIRST_DAY, kind.bound_min() or FIRST_DAY)
    end = min(LAST_DAY, kind.bound_max() or LAST_DAY)
    try:
        calendar = kind(start=start, end=end)
        _refuse_misread_holidays(calendar)
    except (ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ConfigError(
            f"source.exchange = {exchange!r}: the calendar library cannot build it ({reason}); "
            "leave source.exchange empty and set source.sessions=data, which takes the rows of a "
            "file for the sessions"
        ) from error
    return calendar


def _refuse_misread_holidays(calendar: Any) -> None:
    """Refuse a calendar with holidays that pandas 3 computes otherwise than the library's rules.

    Tel Aviv's are steps of a subclass of pandas' Easter, which pandas 3 does not ask either.

    Raises:
        ValueError: the calendar has such a holiday.
    """
    day = pd.Timestamp("2024-01-01")
    for rule in getattr(calendar.regular_holidays, "rules", ()):
        for offset in np.atleast_1d(np.array(rule.offset, object)):
            if "_apply" in vars(type(offset)) and day + offset != offset._apply(day):
                raise ValueError(f"pandas {pd.__version__} misreads its holiday {rule.name}")


def _calendar_class(exchange: str) -> Any:
    """Return the library's calendar with sessions that pandas 3 counts as pandas 2 did.

    A calendar whose trading week has changed steps through its sessions by a subclass of a pandas
    offset. pandas 3 does not ask the subclass: it loses Seoul's Saturdays and Mumbai's special
    ones. A week of seven days whose every day without trading is a holiday says the same to both.
    """
    from exchange_calendars.calendar_utils import _default_calendar_factories

    library_class = _default_calendar_factories[exchange]

    class Calendar(library_class):  # type: ignore[misc, valid-type]
        @cached_property
        def day(self) -> Any:
            if not getattr(self, "special_weekmasks", ()):
                return super().day
            return CustomBusinessDay(weekmask="1111111", holidays=list(_days_without_trading(self)))

    return Calendar


def _days_without_trading(calendar: Any) -> pd.DatetimeIndex:
    days = pd.date_range(FIRST_DAY - pd.Timedelta(days=366), LAST_DAY + pd.Timedelta(days=366))
    trading = _weekdays(calendar.weekmask)[days.day_of_week]
    for first, last, weekmask in calendar.special_weekmasks:
        within = (days >= (first or days[0])) & (days <= (last or days[-1]))
        trading = np.where(within, _weekdays(weekmask)[days.day_of_week], trading)
    closed = days[~trading].union(pd.DatetimeIndex(calendar.adhoc_holidays))
    if calendar.regular_holidays is not None:
        closed = closed.union(calendar.regular_holidays.holidays(days[0], days[-1]))
    return pd.DatetimeIndex(closed)


def _weekdays(weekmask: str) -> Any:
    """Return True for each weekday, Monday first, that a mask such as 1111100 marks: (7,)."""
    return np.array([digit == "1" for digit in weekmask])
