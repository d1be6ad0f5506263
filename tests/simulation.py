"""Run thirty trading days of five tickers through the flows of `prefect.yaml`, the clock set.

    python -m tests.simulation FOLDER

runs in FOLDER against the Prefect server, MLflow store and ledger that the environment names. Yahoo
is a local server that knows at each moment what Yahoo would know then. Among the days are a
holiday, a half day, weekends, a week of downtime, the end of summer time in London and in New York,
a split, a dividend and a delisting.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from prefect import get_client
from prefect.flow_engine import FlowRunEngine

from flows.steps.prices import YAHOO, YAHOO_SLOTS
from rnn_core.config import Evaluation, Model, Training
from rnn_core.data.exchanges import closed_sessions, sessions
from tests.clock import machine_at
from tests.processes import CHECKOUT
from tests.yahoo_server import UNKNOWN_TICKER, Answer, YahooServer, sample_frame, serving

ZONES = {
    "XNYS": ("America/New_York", "09:30"),
    "XLON": ("Europe/London", "08:00"),
    "XKRX": ("Asia/Seoul", "09:00"),
}
TICKERS = {
    "SPLIT": "XNYS",
    "DIVIDEND": "XNYS",
    "DELISTED": "XNYS",
    "LONDON.L": "XLON",
    "SEOUL.KS": "XKRX",
}
FIRST, LAST = date(2021, 10, 20), date(2021, 12, 1)
DOWNTIME = pd.date_range("2021-11-08", "2021-11-12")
SPLIT_DAY, DIVIDEND_DAY, DELISTED_DAY = date(2021, 11, 4), date(2021, 11, 17), date(2021, 11, 19)
LATE = date(
    2021, 11, 23
)  # a day whose forecast is made when the next session is open in New York and London
SATURDAY = date(2021, 11, 20)
TWICE = date(2021, 10, 27)  # a day on which everything is asked for a second time
EVENING = timedelta(hours=22)  # UTC: every exchange has closed, and none has opened again
SMALL: dict[str, Any] = {
    "model": Model(hidden_size=2),
    "training": Training(epochs=1, seeds=1),
    "evaluation": Evaluation(train_days=250, valid_days=50, test_days=200),
}
SOURCE = {"kind": "yahoo", "start": "2020-03-02", "fallback": "none"}


@dataclass
class Market(YahooServer):
    """What Yahoo knows at the time `now`."""

    now: datetime = datetime(2021, 1, 1, tzinfo=UTC)

    def chart(self, ticker: str, query: dict[str, str]) -> Answer:
        frame = known(ticker, self.now)
        if frame is None:
            return UNKNOWN_TICKER
        zone, opens_at = ZONES[TICKERS[ticker]]
        is_split = ticker == "SPLIT" and self.now.date() >= SPLIT_DAY
        splits = {SPLIT_DAY.isoformat(): 2.0} if is_split else {}
        served = YahooServer(frame, zone, opens_at, splits=splits)
        return YahooServer.chart(served, ticker, query)


def truth(ticker: str) -> pd.DataFrame:
    """What the ticker is traded at, as it happens: raw prices."""
    exchange = TICKERS[ticker]
    days = sessions(exchange, date(2020, 3, 2), LAST + timedelta(days=10))
    return sample_frame(days, seed=list(TICKERS).index(ticker)).assign(
        adj_close=lambda frame: frame["close"]
    )


def known(ticker: str, now: datetime) -> pd.DataFrame | None:
    """The frame that Yahoo gives of a ticker at `now`; None where it does not know it any more."""
    frame = truth(ticker)
    frame = frame[closed_sessions(pd.DatetimeIndex(frame.index), TICKERS[ticker], now)]
    prices = ["open", "close", "adj_close"]
    today = now.date()
    if ticker == "SPLIT" and today >= SPLIT_DAY:  # two for one: the past is told in new shares
        frame = frame.assign(
            **{name: frame[name] / 2 for name in prices}, volume=frame["volume"] * 2
        )
    if (
        ticker == "DIVIDEND" and today >= DIVIDEND_DAY
    ):  # two per cent: earlier closes are adjusted by them
        earlier = frame.index < pd.Timestamp(DIVIDEND_DAY)
        frame = frame.assign(adj_close=np.where(earlier, frame["close"] * 0.98, frame["close"]))
    if ticker == "DELISTED" and today >= DELISTED_DAY:
        return None
    return frame


def moments() -> Iterator[tuple[date, dict[str, datetime]]]:
    """The days on which the machine runs, and when each flow is called."""
    for day in pd.bdate_range(FIRST, LAST).union([pd.Timestamp(SATURDAY)]):
        if day in DOWNTIME:
            continue
        evening = datetime.combine(day.date(), datetime.min.time(), UTC) + EVENING
        late = timedelta(hours=17) if day.date() == LATE else timedelta(minutes=30)
        yield (
            day.date(),
            {
                "score/daily": evening,
                "retrain/daily": evening + timedelta(minutes=5),
                "retrain-universe/nightly": evening + timedelta(minutes=10),
                "forecast/daily": evening + late,
            },
        )


def deployed() -> dict[str, tuple[Any, dict[str, Any]]]:
    """The flows of `prefect.yaml` with their parameters, by the name of the deployment."""
    found = {}
    for deployment in yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]:
        path, _, function = deployment["entrypoint"].partition(":")
        flow = getattr(import_module(path.removesuffix(".py").replace("/", ".")), function)
        found[f"{flow.name}/{deployment['name']}"] = (flow, deployment.get("parameters", {}))
    return found


def main(folder: Path) -> None:
    """Run all days and write each run's output, by day and deployment, to `said.json`."""
    os.chdir(folder)
    flows = deployed()
    said: dict[str, dict[str, list[str]]] = {}
    own: dict[str, dict[str, Any]] = {
        "retrain/daily": {"ticker": "SPLIT", "source": SOURCE, **SMALL},
        "retrain-universe/nightly": {"tickers": tuple(TICKERS), "source": SOURCE, **SMALL},
        "score/daily": {},
        "forecast/daily": {},
    }
    market = Market(truth("SPLIT"))
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(YAHOO, YAHOO_SLOTS)
    with pytest.MonkeyPatch.context() as patch, serving(patch, market):
        patch.setattr(FlowRunEngine, "heartbeat_seconds", None)  # a flow takes a second to end them
        for day, calls in moments():
            for name, at in calls.items():
                if name == "score/daily" and not said:
                    continue  # nothing was forecast yet
                market.now = at
                flow, parameters = flows[name]
                for _ in range(2 if day == TWICE else 1):
                    with machine_at(at):
                        state = flow(**(parameters | own[name]), now=at, return_state=True)
                    said.setdefault(day.isoformat(), {}).setdefault(name, []).append(
                        f"{state.name}: {state.message or ''}"
                    )
    Path("said.json").write_text(json.dumps(said, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
