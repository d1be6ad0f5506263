"""Flows killed at their writes and at random moments, and started again: what is lost or doubled.

    python -m tests.faults.kills SHARE PART PARTS [WORK …]
    python -m tests.faults.kills control

runs in an empty folder, with a Prefect server. It kills each flow before a `SHARE` of its writes
and at a `SHARE` of `RANDOM_KILLS` random moments, chosen by a fixed seed. Of these it does those of
its `PART`, from 0 to `PARTS` - 1, so that several processes can divide the work. It prints a line
of JSON for each kill.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.flow_engine import FlowRunEngine

from flows.forecast import forecast
from flows.prune import prune
from flows.retrain import retrain
from flows.rollback import roll_back
from flows.score import score
from flows.steps import unrecorded
from flows.steps.learning import FIGURES
from flows.tracking import unfinished
from flows.tracking.runs import address
from flows.universe.flow import retrain_universe
from flows.universe.processes import IMPORTED
from rnn_core.config import Evaluation, File, Model, Promotion, Runner, Training
from rnn_core.data import vintages
from rnn_core.operations.ledger import Ledger
from rnn_core.reporting import figures
from tests.clock import machine_at
from tests.faults.killed import count_of_writes, in_a_process, killed_after, killed_before_write
from tests.flows.conftest import EVERY_FIGURE
from tests.processes import CHECKOUT

RANDOM_KILLS = 1000  # of all works together
SEED = 20261129
TICKERS = ("AAPL", "MSFT")
EVENINGS = [datetime(2013, 2, day, 22, tzinfo=UTC) for day in (26, 27, 28)]  # after three sessions
DAYS = 700
SMALL: dict[str, Any] = {
    "source": File(path="data/{ticker}.csv", exchange="XNYS"),
    "model": Model(hidden_size=2),
    "training": Training(epochs=1, seeds=1),
    "evaluation": Evaluation(train_days=300, valid_days=60, test_days=300),
}


def at(day: int, flow: Callable[..., object], **options: Any) -> Callable[[], None]:
    """Return the work of a flow on the evening of a day; the clock of the machine says so too."""

    def on_that_day() -> None:
        with machine_at(EVENINGS[day]):
            flow(now=EVENINGS[day], **options)

    return on_that_day


universe = partial(retrain_universe, tickers=TICKERS, runner=Runner(workers=1), **SMALL)
WORKS: dict[str, Callable[[], object]] = {
    "retrain": at(2, retrain, ticker="MSFT", scheduled=True, **SMALL),
    "universe": at(2, universe, scheduled=True),
    "forecast": at(1, forecast, scheduled=True),
    "score": at(1, score, scheduled=True),
    "rollback": partial(roll_back, "MSFT", EVENINGS[1], to=1),
    "prune": partial(prune, days=0, keep=1, now=datetime.now(UTC) + timedelta(days=1)),
}


def prepare() -> None:
    """Make two days of champions, forecasts from the first, and models that are not promoted."""
    Path("data").mkdir()
    for ticker in TICKERS:
        head, *rows = (CHECKOUT / f"tests/data/{ticker}.csv").read_text().splitlines()
        Path(f"data/{ticker}.csv").write_text("\n".join([head, *rows[-DAYS:]]))
    for work in (
        at(0, universe, promotion=Promotion(require_skill=True)),
        at(0, universe, again=True),
        at(0, forecast),
        at(1, universe),
    ):
        in_a_process(work)


def state() -> tuple[Counter[str], list[str]]:
    """Return what is there, each thing as a line, and what is stuck."""
    store = MlflowClient()
    experiments = {found.experiment_id: found.name for found in store.search_experiments()}
    runs = store.search_runs(list(experiments))
    finished = {run.info.run_id: run for run in runs if run.info.status == "FINISHED"}
    lines = [
        f"{experiments[run.info.experiment_id]}: {_run(run)}"
        for run in finished.values()
        if "tickers" not in run.data.tags  # a start of a universe, which does what is left
    ]
    # To ask for a forecast again shows the same rows of the ledger again
    asked = {line for line in lines if line.startswith("forecast: ")}
    there = [*asked, *(line for line in lines if line not in asked)]
    with Ledger.open() as ledger:
        for ticker in TICKERS:
            found = store.search_model_versions(f"name = 'direction-{ticker}'")
            runs_of_versions = {int(version.version): version.run_id for version in found}
            rank = {number: f"{ticker} {at}" for at, number in enumerate(sorted(runs_of_versions))}
            there += [f"version {rank[number]}" for number in runs_of_versions]
            model = store.get_registered_model(f"direction-{ticker}")
            there += [f"{alias} {rank[int(to)]}" for alias, to in model.aliases.items()]
            there += [f"{rank[int(one.version)]}: {one.tags['promotion']}" for one in found]
            followed = model.tags["ledger.decision"].partition(" ")[0]
            there.append(f"the alias of {ticker} has followed decision {followed}")
            champion = store.get_model_version_by_alias(model.name, "champion")
            if champion.run_id not in finished:
                there.append(f"champion of {ticker} by a run that did not finish")
            for row in ledger.promotions(ticker).itertuples():
                there.append(f"{row.kind} of {rank[row.model_version]}")
            for row in ledger.forecasts(ticker).itertuples():
                figures = (row.session, row.probability, row.next_return, row.counted)
                there.append(f"forecast by {rank[row.model_version]}: {figures}")
        looks = ledger.looks()[["ticker", "number", "level", "first_day", "last_day"]]
        # A rerun asks the same question of the same days again, which is no further look
        there += [f"look {look}" for look in set(looks.itertuples(index=False, name=None))]
    there += [f"vintage {path.stem}" for path in vintages.ROOT.rglob("*.parquet")]
    running = [f"{run.info.run_name} is {run.info.status}" for run in runs if _is_open(run)]
    pending = [
        f"model {model.model_id} is {model.status}"
        for model in store.search_logged_models(list(experiments))
        if model.status != "READY"
    ]
    left = [*unrecorded.ROOT.glob("*"), *Path(tempfile.gettempdir()).glob("rnnflow*")]
    return Counter(there), [*running, *pending, *map(str, left)]


def _is_open(run: Run) -> bool:
    return run.info.status not in ("FINISHED", "FAILED", "KILLED")


def _run(run: Run) -> str:
    """Return a run by its name, its session, its calls and what was decided, or by `pruned`."""
    tags = run.data.tags
    calls = Path(address(run.info.run_id, "calls.csv"))
    digest = sha256(calls.read_bytes()).hexdigest()[:8] if calls.exists() else ""
    told = [tags.get(tag, "") for tag in ("session", "promotion", "pruned")]
    return " ".join([str(run.info.run_name), digest, *told])


def ends(work: Callable[[], object]) -> dict[str, list[str]]:
    """Start a killed work again; return what is then lost, doubled and stuck."""
    try:
        in_a_process(work)
    except Exception as error:  # noqa: BLE001  whatever it is, it is reported
        return {"lost": [], "doubled": [], "stuck": [f"the rerun: {error!r}"]}
    there, stuck = in_a_process(state)
    return {
        "lost": sorted((EXPECTED - there).elements()),
        "doubled": sorted((there - EXPECTED).elements()),
        "stuck": stuck,
    }


EXPECTED = Counter[str]()
"""The state after the same work without a kill."""


def kills(name: str, share: float, part: int, parts: int) -> Iterator[dict[str, Any]]:
    """Kill a work again and again, and yield how each kill ended."""
    work = WORKS[name]
    restore()
    in_a_process(work)
    there, stuck = in_a_process(state)
    EXPECTED.clear()
    EXPECTED.update(there)
    assert not stuck, stuck
    restore()
    writes = count_of_writes(work)
    restore()
    started = time.perf_counter()
    in_a_process(work)
    seconds = time.perf_counter() - started
    choice = np.random.default_rng([SEED, list(WORKS).index(name)])
    numbers = choice.permutation(writes)[: ceil(share * writes)] + 1
    moments = seconds * choice.random(ceil(share * RANDOM_KILLS / len(WORKS)))
    for number in numbers[part::parts]:
        restore()
        write = killed_before_write(number, work)
        if write is None:  # it made fewer writes this time
            yield {"work": name, "not reached": int(number)}
        else:
            yield {"work": name, "killed before": f"{number}: {write}", **ends(work)}
    for moment in moments[part::parts]:
        restore()
        while not killed_after(moment, work):  # it has ended before
            moment /= 2
            restore()
        yield {"work": name, "killed after": round(moment, 3), **ends(work)}


def restore() -> None:
    """Put back what was prepared; this process works in a new folder of the same name."""
    os.chdir(HOME)
    shutil.rmtree("work")
    shutil.copytree("prepared", "work", symlinks=True)
    os.chdir("work")


HOME = Path.cwd()


def control() -> None:
    """Kill a retrain before its last write, with the rule broken that closes it as done."""
    broken = pytest.MonkeyPatch()
    broken.setattr(unfinished, "JUDGED", "no tag")
    broken.setattr(unfinished, "_was_promoted", lambda run: False)
    restore()
    writes = count_of_writes(WORKS["retrain"])
    EXPECTED.update(in_a_process(state)[0])
    restore()
    killed_before_write(writes - 1, WORKS["retrain"])
    print(json.dumps(ends(WORKS["retrain"])))  # noqa: T201


def set_up() -> None:
    """Import what the flows need, make them small, and prepare what they find."""
    for module in (*IMPORTED, "mlflow.store.model_registry.sqlalchemy_store", "mlflow.pyfunc"):
        import_module(module)  # once, and not in each process
    FlowRunEngine.heartbeat_seconds = None  # a flow takes a second to end them
    figures.figures = lambda *rest: EVERY_FIGURE(*rest[:5], FIGURES)
    Path("work").mkdir()
    os.chdir("work")
    prepare()
    shutil.copytree(".", HOME / "prepared", symlinks=True)


def main(share: float, part: int, parts: int, works: list[str]) -> None:
    """Print how each kill of some works, or of all, ended."""
    for name in works or WORKS:
        for end in kills(name, share, part, parts):
            print(json.dumps(end), flush=True)  # noqa: T201


if __name__ == "__main__":
    set_up()
    if sys.argv[1:] == ["control"]:
        control()
    else:
        main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
