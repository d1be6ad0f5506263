#!/usr/bin/env bash
# Prefect 3.8.8: a daily cron in the hour that the clocks skip fires an hour early, on the old side of the gap.
#
# "30 2 * * *" in New York has no 2:30 on 2026-03-08. The schedule says 01:30-05:00, thirty minutes before the clocks change; the wall
# clock would read 3:30-04:00 if the run kept its distance of 24 hours to the day before. Where a job must not run before
# something has closed, that hour counts. When the clocks go back, the hour that comes twice is used once, the first time. Seen:
#
#   2026-03-07 02:30-05:00, 2026-03-08 01:30-05:00, 2026-03-09 02:30-04:00
#   2026-10-31 01:30-04:00, 2026-11-01 01:30-04:00, 2026-11-02 01:30-05:00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PREFECT_HOME=$folder/home PREFECT_LOGGING_LEVEL=ERROR DO_NOT_TRACK=1
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check prefect==3.8.8 "fastapi<0.151" "sqlalchemy<2.1" 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

from prefect.server.schemas.schedules import CronSchedule

NEW_YORK = ZoneInfo("America/New_York")


def planned(cron, start):
    schedule = CronSchedule(cron=cron, timezone="America/New_York")
    dates = asyncio.run(schedule.get_dates(n=3, start=start))
    return [f"{date:%Y-%m-%d %H:%M%z}" for date in dates]


spring = planned("30 2 * * *", datetime(2026, 3, 6, 12, tzinfo=NEW_YORK))
autumn = planned("30 1 * * *", datetime(2026, 10, 30, 12, tzinfo=NEW_YORK))
print(spring, autumn)
assert spring == ["2026-03-07 02:30-0500", "2026-03-08 01:30-0500", "2026-03-09 02:30-0400"]
assert autumn == ["2026-10-31 01:30-0400", "2026-11-01 01:30-0400", "2026-11-02 01:30-0500"]
PYTHON
