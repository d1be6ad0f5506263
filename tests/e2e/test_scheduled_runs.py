"""When the deployments of `prefect.yaml` run; what they do on holidays and when they are late."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import yaml

from rnn_core.data.calendars import hours
from tests.e2e.prefect_site import Site
from tests.processes import CHECKOUT, wait_for

CHRISTMAS = "2025-12-25T08:00:00Z"  # five in the afternoon in Seoul
DAILY = {
    "ticker": "LATE",
    "source": {"kind": "file", "path": str(CHECKOUT / "tests/data/MSFT.csv")},
    "training": {"epochs": 1, "seeds": 1},
    "promotion": {"require_skill": True},
    "now": "2013-03-01T22:00:00Z",
}


def test_scheduled_deployments_plan_the_days_and_the_hour_that_are_written(site: Site) -> None:
    scheduled = {
        f"{entry['entrypoint'].rpartition(':')[2].replace('_', '-')}/{entry['name']}": entry[
            "schedules"
        ]
        for entry in yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
        if "schedules" in entry
    }
    assert {"retrain/daily", "retrain-universe/nightly", "forecast/daily", "score/daily"} <= set(
        scheduled
    )
    for name, [schedule] in scheduled.items():
        deployment = site.ask(f"/deployments/name/{name}")["id"]
        wait_for(
            lambda deployment=deployment: len(_planned(site, deployment)) >= 3,
            f"{name} to be planned",
        )
        starts = _planned(site, deployment, schedule["timezone"])
        assert starts == _written(schedule["cron"], starts), name


def test_what_needs_the_days_close_runs_after_the_latest_one_of_any_year() -> None:
    known = hours("XKRX")
    real = known[known["close"].dt.normalize() == known["open"].dt.normalize()]
    latest = (real["close"] - real["close"].dt.normalize()).max()
    assert latest == timedelta(hours=16, minutes=30), "an exam day's"
    for entry in yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]:
        if entry["entrypoint"].rpartition(":")[2] not in ("score", "retrain", "retrain_universe"):
            continue
        for schedule in entry.get("schedules", []):
            minute, hour, *_ = schedule["cron"].split()
            assert schedule["timezone"] == "Asia/Seoul"
            assert timedelta(hours=int(hour), minutes=int(minute)) > latest, entry["entrypoint"]


def test_a_change_of_daylight_saving_does_not_move_the_hour(site: Site) -> None:
    cron, zone = "0 17 * * 1-5", "America/New_York"
    flow = site.deployment("daily")["flow_id"]
    schedule = {"schedule": {"cron": cron, "timezone": zone}}
    deployment = site.ask(
        "/deployments/", {"name": "new-york", "flow_id": flow, "schedules": [schedule]}
    )["id"]
    march = {
        "start_time": "2027-03-01T05:00:00Z",
        "end_time": "2027-03-31T04:00:00Z",
        "min_runs": 30,
    }
    site.ask(f"/deployments/{deployment}/schedule", march)
    starts = [start for start in _planned(site, deployment, zone) if f"{start:%Y-%m}" == "2027-03"]
    assert len(starts) == 22
    assert starts == _written(cron, starts)
    assert {start.utcoffset() for start in starts} == {timedelta(hours=-5), timedelta(hours=-4)}


def test_a_scheduled_run_on_a_holiday_says_so_and_records_nothing(site: Site) -> None:
    flow_run, done = site.deployed("retrain/daily", "--watch", now=CHRISTMAS)
    assert done.returncode == 0, done.stdout + done.stderr
    state = site.ended(flow_run)
    assert (state["type"], state["message"]) == (
        "COMPLETED",
        "nothing to do: 2025-12-25 is no session of XKRX",
    )
    assert site.tracked(flow_run) is None


def test_of_late_runs_one_works_and_none_waits(site: Site) -> None:
    run_now = f"/deployments/{site.deployment('daily')['id']}/create_flow_run"
    assert site.prefect("work-pool", "pause", "rnn").returncode == 0
    try:
        late = [site.ask(run_now, {"parameters": DAILY})["id"] for _ in range(3)]
    finally:
        assert site.prefect("work-pool", "resume", "rnn").returncode == 0
    states = {flow_run: site.ended(flow_run) for flow_run in late}
    [at_work] = [flow_run for flow_run in late if site.tracked(flow_run)]
    assert states.pop(at_work)["type"] == "COMPLETED"
    run_id = site.tracked(at_work).info.run_id
    for state in states.values():
        assert state["message"] in (
            "Deployment concurrency limit reached.",
            f"nothing to do: LATE was retrained for 2013-03-01 (run {run_id}); --again retrains it",
        )


def _planned(site: Site, deployment: str, zone: str = "UTC") -> list[datetime]:
    """When the planned runs of a deployment start, in order."""
    planned = {
        "deployments": {"id": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    runs = site.ask("/flow_runs/filter", planned)
    return [
        datetime.fromisoformat(run["expected_start_time"]).astimezone(ZoneInfo(zone))
        for run in runs
    ]


def _written(cron: str, starts: list[datetime]) -> list[datetime]:
    """What a cron line of an hour and weekdays means from the first to the last of `starts`."""
    minute, hour, _, _, weekdays = cron.split()
    first, _, last = weekdays.partition("-")
    days = [
        starts[0] + timedelta(days=number)
        for number in range((starts[-1].date() - starts[0].date()).days + 1)
    ]
    return [
        day.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)
        for day in days
        if int(first) <= day.isoweekday() % 7 <= int(last or first)
    ]
