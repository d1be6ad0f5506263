#!/usr/bin/env bash
# pandas-market-calendars 5.5.0 holds no opinion of its own on most exchanges, and so is no oracle for exchange-calendars.
#
# Every calendar that it offers under an exchange's MIC (XKRX, XTAI, XJSE, XLON, ...) mirrors exchange-calendars 4.13.2: the
# two agree on all days from 2019 to 2026 because they are one, and share each gap. Only a few calendars under trade names
# (HKEX, JPX, LSE, ...) are its own, and those differ. A third source, holidays 0.109, keeps calendars of exchanges too. Seen:
#
#   mirrored MICs of XKRX XTAI XJSE XLON XTKS XHKG XSWX   7 of 7, days on which they differ from the source: 0
#   2023-09-01 in Hong Kong (typhoon, no trading)         exchange-calendars open, HKEX closed, holidays closed
#   2024-09-06 in Hong Kong (typhoon, no trading)         exchange-calendars closed, HKEX open, holidays closed
#   2026-07-17 in Seoul (holiday restored in 2026)        exchange-calendars open, XKRX open, holidays closed
#   2024-10-31 in Taipei (typhoon, no trading)            exchange-calendars open, XTAI open, holidays open: all are wrong
#
# So no source is right alone, and a majority of them is not either.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check exchange-calendars==4.13.2 pandas-market-calendars==5.5.0 \
    holidays==0.109 "pandas==3.1.1" "numpy==2.4.6" 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
from datetime import date

import exchange_calendars as xc
import holidays
import pandas as pd
import pandas_market_calendars as mcal

MIRRORED = ("XKRX", "XTAI", "XJSE", "XLON", "XTKS", "XHKG", "XSWX")
START, END = "2019-01-02", "2026-12-30"


def library(name):
    return set(xc.get_calendar(name, start="2018-12-01", end="2026-12-31").sessions_in_range(START, END))


def other(name):
    return set(pd.DatetimeIndex(mcal.get_calendar(name).valid_days(START, END, tz=None)))


mirrors = sum("mirror" in type(mcal.get_calendar(name)).__module__ for name in MIRRORED)
differences = sum(len(library(name) ^ other(name)) for name in MIRRORED)
print(mirrors, "of", len(MIRRORED), "are mirrors; days on which they differ:", differences)
assert (mirrors, differences) == (7, 0)

for day, mic, trade_name, expected in (
    (date(2023, 9, 1), "XHKG", "HKEX", (True, False, False)),
    (date(2024, 9, 6), "XHKG", "HKEX", (False, True, False)),
    (date(2026, 7, 17), "XKRX", "XKRX", (True, True, False)),
    (date(2024, 10, 31), "XTAI", "XTAI", (True, True, True)),
):
    open_by = (
        pd.Timestamp(day) in library(mic),
        pd.Timestamp(day) in other(trade_name),
        day not in holidays.financial_holidays(mic, years=day.year),
    )
    print(day, mic, "open by exchange-calendars, pandas-market-calendars, holidays:", open_by)
    assert open_by == expected, (day, open_by)
PYTHON
