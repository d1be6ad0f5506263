"""The commands of a day beside those of an earlier commit: seconds, processor time and memory.

`python -m benchmarks pipeline --against COMMIT` checks the commit out into a worktree of its own
and builds its kernel there. Both use the packages of this environment; each has a Prefect server,
an MLflow store and a ledger of its own. They take turns, the order reversed from round to round,
and the median of the rounds' ratios counts.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.rounds import save
from tests.processes import CHECKOUT, end, free_port, isolated, start, wait_for

ROUNDS = 5  # after one that is not counted
AAPL = ("--source.kind", "file", "--source.path", str(CHECKOUT / "tests/data/AAPL.csv"))
MANY = ",".join(f"WALK{number}" for number in range(80))
NOW = ("--now", "2018-12-31T22:00:00Z")  # the last day of the file
DAYS = ("--source.days", "2520")


@dataclass(frozen=True)
class Work:
    """A command, and how it may compare.

    Attributes:
        name: of the work.
        command: a module and its options.
        most: the largest ratio of seconds that is wanted; None for what is only shown.
        with_server: True if it reports to a running Prefect server.
        rounds: that count.
        status: that it ends with.
    """

    name: str
    command: tuple[str, ...]
    most: float | None = None
    with_server: bool = True
    rounds: int = ROUNDS
    status: int = 0


WORKS = (
    Work("help", ("flows.retrain", "--help")),
    Work("a typo", ("flows.retrain", "--tiker", "AAPL"), status=2),
    Work("retrain", ("flows.retrain", "--ticker", "AAPL", *AAPL, *NOW), most=0.6),
    Work(
        "retrain without a server",
        ("flows.retrain", "--ticker", "AAPL", *AAPL, *NOW),
        most=0.7,
        with_server=False,
    ),
    Work("forecast", ("flows.forecast", "--ticker", "AAPL", *NOW), most=0.6),
    Work("score", ("flows.score", "--ticker", "AAPL", *NOW), most=0.6),
    Work(
        "universe of 80 walks of ten years",
        ("flows.universe", "--tickers", MANY, "--source.kind", "synthetic", *DAYS),
        most=0.5,
        rounds=1,
    ),
)


@dataclass(frozen=True)
class Cost:
    """The cost of a command, including the processes that it waited for.

    Attributes:
        seconds: by the clock.
        processor_seconds: of all cores.
        megabytes: of the largest process at its peak.
    """

    seconds: float
    processor_seconds: float
    megabytes: float


@dataclass(frozen=True)
class Row:
    """The median cost of some work, and how many times that of the earlier commit it is."""

    work: str
    seconds: float
    processor_seconds: float
    megabytes: float
    ratio_seconds: float
    ratio_processor_seconds: float
    ratio_megabytes: float


Run = Callable[[Work], Cost]


def main(commit: str) -> list[str]:
    """Print and keep the rows of all works; return a sentence for each that takes too long."""
    with ExitStack() as stack:
        ours = stack.enter_context(build(CHECKOUT))
        theirs = stack.enter_context(build(stack.enter_context(worktree(commit))))
        rows = [compared(work, ours, theirs) for work in WORKS]
    save("against", rows)
    return [
        f"{row.work} takes {row.ratio_seconds:.2f} of {commit}; at most {work.most} is wanted"
        for row, work in zip(rows, WORKS, strict=True)
        if work.most is not None and row.ratio_seconds > work.most
    ]


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """Check a commit out into a folder of its own, and build its kernel there."""
    with TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ("git", "-C", str(CHECKOUT), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            build_kernel = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
            subprocess.run(build_kernel, cwd=tree, check=True)
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


@contextmanager
def build(tree: Path) -> Iterator[Run]:
    """Start what the commands of a tree need; yield a function that runs one of them."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        port = str(free_port())
        api = f"http://127.0.0.1:{port}/api"
        environment = isolated(
            home, MLFLOW_TRACKING_URI=f"sqlite:///{home}/mlflow.db", PYTHONPATH=str(tree)
        )
        with_server = environment | {"PREFECT_API_URL": api}
        without = environment | {"PREFECT_HOME": str(home / "without")}
        server = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", port)

        def run(work: Work) -> Cost:
            return cost(work, with_server if work.with_server else without, home)

        try:
            start(*server, environment=with_server, cwd=home, log=home / "server.log")
            wait_for(lambda: "Check out" in (home / "server.log").read_text(), "the server")
            yield run
        finally:
            end(home)


def cost(work: Work, environment: Mapping[str, str], home: Path) -> Cost:
    """Run a command to its end.

    Raises:
        RuntimeError: it did not end as it should.
    """
    log = home / "command.log"
    before = time.perf_counter()
    with log.open("wb") as output:
        command = [sys.executable, "-m", *work.command]
        process = subprocess.Popen(command, env=environment, cwd=home, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - before
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != work.status:
        raise RuntimeError(f"{work.name}: {log.read_text()[-3000:]}")
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def compared(work: Work, ours: Run, theirs: Run) -> Row:
    """Run a command in turns; print and return its row."""
    pairs = []
    for number in range(work.rounds + 1):
        in_turn = (ours, theirs) if number % 2 else (theirs, ours)
        first, second = (run(work) for run in in_turn)
        pairs.append((first, second) if number % 2 else (second, first))
    counted = [(asdict(own), asdict(other)) for own, other in pairs[1:]]
    costs = {name: median(own[name] for own, _ in counted) for name in counted[0][0]}
    ratios = {
        f"ratio_{name}": median(own[name] / other[name] for own, other in counted) for name in costs
    }
    row = Row(work.name, **costs, **ratios)
    print(
        f"{row.work}: {row.seconds:.2f} s ({row.ratio_seconds:.2f}), of the processor "
        f"{row.processor_seconds:.2f} s ({row.ratio_processor_seconds:.2f}), "
        f"{row.megabytes:.0f} MB ({row.ratio_megabytes:.2f})",
        flush=True,
    )
    return row
