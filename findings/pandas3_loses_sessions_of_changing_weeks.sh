#!/usr/bin/env bash
# exchange-calendars 4.13.2 under pandas 3.1.1 loses every session that a special week mask adds, without a word.
#
# An exchange whose trading week has changed (Seoul traded on Saturdays until 1998, Tel Aviv on Sundays until 2026,
# Mumbai on a few Saturdays) is described by CompositeCustomBusinessDay, a subclass of pandas' CustomBusinessDay that
# overrides `_apply`. Under pandas 2.3.3 `pd.date_range(freq=calendar.day)` calls that override; under pandas 3.1.1 the
# compiled parent steps by itself and never asks. `day.is_on_offset` still answers rightly under both, so the calendar
# contradicts itself. Seen with the same exchange-calendars in both:
#
#                                                pandas 2.3.3     pandas 3.1.1
#   XKRX sessions 1995 to 1998 on a Saturday              196                0
#   XMOS sessions 1999 to 2024 on a weekend                40                0
#   XBOM 2024-01-20, a special Saturday               session       no session
#   XTAE, start=2025-01-01                       247 sessions       ValueError
#   ASEX, start=1995-01-01                      7698 sessions       NotImplementedError
#   XTAE holidays of October 2024 (High Holy Days)          9                0
#   XTAE holidays on the Western Easter of 2024             0               15
#
# The last two rows have the same cause: the Hebrew holidays are rules on a subclass of pandas' Easter offset, and pandas 3.1.1
# steps to the Easter of the parent instead.
#
# A comparison of the library with itself, or with another library that re-exports it, cannot notice.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/count.py" <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
import exchange_calendars as xc
import pandas as pd
from exchange_calendars.exchange_calendar_xtae import XTAEExchangeCalendar


def weekend(name, start, end):
    sessions = xc.get_calendar(name, start=start, end=end).sessions
    return int((sessions.dayofweek >= 5).sum())


def count(name, start):
    try:
        return str(len(xc.get_calendar(name, start=start, end="2026-01-02").sessions))
    except Exception as error:
        return type(error).__name__


tel_aviv = XTAEExchangeCalendar.__new__(XTAEExchangeCalendar)
holidays = tel_aviv.regular_holidays.holidays(pd.Timestamp("2024-01-01"), pd.Timestamp("2024-12-31"))
october = int((holidays.month == 10).sum())
easter = int(((holidays == "2024-03-30") | (holidays == "2024-03-31")).sum())
mumbai = xc.get_calendar("XBOM", start="2023-01-01", end="2025-12-31")
saturday = pd.Timestamp("2024-01-20")
print(
    weekend("XKRX", "1995-01-01", "1998-12-31"),
    weekend("XMOS", "1999-01-01", "2024-12-31"),
    mumbai.is_session(saturday),
    bool(mumbai.day.is_on_offset(saturday)),
    count("XTAE", "2025-01-01"),
    count("ASEX", "1995-01-01"),
    october,
    easter,
)
PYTHON
seen() {
    python3 -m venv "$folder/$1"
    "$folder/$1/bin/pip" install --quiet --disable-pip-version-check "pandas==$1" "numpy==2.3.5" exchange-calendars==4.13.2 2>/dev/null
    "$folder/$1/bin/python" "$folder/count.py"
}
two=$(seen 2.3.3)
three=$(seen 3.1.1)
printf 'pandas 2.3.3: %s\npandas 3.1.1: %s\n' "$two" "$three"
test "$two" = "196 40 True True 247 7698 9 0"
test "$three" = "0 0 False True ValueError NotImplementedError 0 15"
