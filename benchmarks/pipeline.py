"""Where the time of one `retrain` goes beside a running Prefect server: what is neither training nor evaluation.

The server, its database and MLflow's are fresh and local; the prices are made. The first run, which fills caches and
creates tables, is not counted. `outside` is the sum of the laps that the run prints, without `train` and `evaluate and
plot`; `process` is the whole command, with the imports and Prefect's own start and end.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import httpx

from benchmarks.rounds import save
from tests.processes import CHECKOUT, end, free_port, isolated, run, start, wait_for

ROUNDS = 3
WORK = ("train", "evaluate and plot")


@dataclass(frozen=True)
class Step:
    """The median seconds of one step of a run."""

    case: str
    step: str
    seconds: float


def main() -> list[str]:
    with TemporaryDirectory() as folder:
        home, port = Path(folder), str(free_port())
        address = f"http://127.0.0.1:{port}/api"
        environment = isolated(home, PREFECT_API_URL=address, MLFLOW_TRACKING_URI=f"sqlite:///{home}/mlflow.db")
        try:
            server = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", port)
            start(*server, environment=environment, cwd=home, log=home / "server.log")
            wait_for(lambda: healthy(address), "the Prefect server")
            laps = [retrain(environment, home) for _ in range(ROUNDS + 1)]
        finally:
            end(home)
    steps = [Step("retrain", step, median(lap[step] for lap in laps[1:])) for step in laps[0]]
    for step in steps:
        print(f"{step.seconds:7.2f} s  {step.case}, {step.step}")
    save("pipeline", steps)
    return []


def healthy(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").is_success
    except httpx.TransportError:
        return False


def retrain(environment: dict[str, str], home: Path) -> dict[str, float]:
    """Seconds by step of one run, what is outside training and evaluation, and the whole process."""
    before = perf_counter()
    command = ("python", "-m", "flows.retrain", "--ticker", "WALK", "--source.kind", "synthetic")
    done = run(*command, environment=environment | {"PYTHONPATH": str(CHECKOUT)}, cwd=home)
    process = perf_counter() - before
    if done.returncode:
        raise RuntimeError(done.stderr)
    (line,) = (line for line in done.stdout.splitlines() if re.match(r"│ seconds\b", line))
    laps = {step: float(seconds) for step, seconds in re.findall(r"([a-z][a-z ]*) ([\d.]+)", line.split("│")[2])}
    outside = sum(seconds for step, seconds in laps.items() if step not in WORK)
    return laps | {"outside": outside, "process": process}
