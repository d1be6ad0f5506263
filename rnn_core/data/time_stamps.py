"""Which session a time stamp means: one rule for files, answers and served frames."""

from typing import Any

import pandas as pd

OFFSET = r"\s*(?:Z|[+-]\d\d(?::?\d\d)?)$"
STAMP = r"\d[T ].*" + OFFSET


def sessions_of(stamps: "pd.Series[Any]", zone: str) -> pd.DatetimeIndex:
    """Return the sessions (L,) that dates, times or text in ISO 8601 mean, as naive midnights.

    They are NaT where a stamp is none of these. `zone` is the exchange's, such as Asia/Seoul.

    >>> sessions_of(pd.Series(["2013-01-31 15:00Z"]), "Asia/Seoul").strftime("%Y-%m-%d").tolist()
    ['2013-02-01']
    """
    if pd.api.types.is_datetime64_any_dtype(stamps):
        times = pd.DatetimeIndex(stamps)
        as_written = times.tz_localize(None)
    else:
        text = stamps.astype(str).str.strip()
        has_offset = bool(text.str.contains(STAMP).any())
        parsed = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=has_offset)
        times = pd.DatetimeIndex(parsed)
        as_written = without_offsets(text)
    return times.normalize() if times.tz is None else session_dates(times, as_written, zone)


def session_dates(
    instants: pd.DatetimeIndex, as_written: pd.DatetimeIndex, zone: str
) -> pd.DatetimeIndex:
    """Return the naive midnights of the sessions that time stamps (L,) mean.

    Midnight in the exchange's zone is that date; else midnight as written, in the stamp's own
    offset, is the date as written; any other instant has its date in the exchange's zone.

    Args:
        instants: (L,) the stamps as aware times.
        as_written: (L,) the same without their offset.
        zone: time zone of the exchange, such as Asia/Seoul.
    """
    local = instants.tz_convert(zone).tz_localize(None)
    is_local_midnight = local == local.normalize()
    is_written_midnight = as_written == as_written.normalize()
    dates = local.normalize().where(is_local_midnight | ~is_written_midnight, as_written)
    return pd.DatetimeIndex(dates.where(instants.notna()))


def without_offsets(column: "pd.Series[Any]") -> pd.DatetimeIndex:
    """Return the times as written, without their offsets from UTC."""
    text = column.astype(str).str.strip()
    text = text.str.replace(rf"(\d[T ].*?){OFFSET}", r"\1", regex=True)  # no day of a plain date
    written = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    return pd.DatetimeIndex(written).tz_localize(None)
