"""The processes that do the work of a universe's tasks: forked from one that has imported what they need, once.

Prefect's own process runner spawns them: each imports for itself, and sets up Prefect anew for every task.
"""

import multiprocessing
import operator
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

from rnn_core.config import Runner
from rnn_core.errors import ProcessLost
from rnn_core.nn.engines import usable_cores
from rnn_core.nn.memory import tune_process

IMPORTED = (  # what the work is made of, and what that imports as soon as it needs it
    "flows.steps.learning",
    "mlflow.store.tracking.sqlalchemy_store",
    "arch.bootstrap",
    "sklearn.linear_model",
    "statsmodels.tsa.stattools",
)
T = TypeVar("T")
Perform: TypeAlias = Callable[[Callable[[], T]], T]
"""What does a piece of work and returns what came of it."""


def prepare(settings: Runner) -> None:
    """Have what the work needs imported, which takes seconds, by the process that the others are forked from."""
    if settings.kind == "processes":
        forkserver.set_forkserver_preload(list(IMPORTED))
        forkserver.ensure_running()


@contextmanager
def performer(settings: Runner, pieces: int) -> Iterator[Perform[Any]]:
    """What does the work of the tasks' threads: these themselves, or for `processes` one process for each at a time.

    Each process is a pool of its own: if it dies, it takes only the work along that it was at, for which ProcessLost
    is raised, and a new one takes its place. There are no more than `pieces` of work, and they share the cores: two on
    two cores, each with threads for both, take 1.3 to 1.6 times as long.
    """
    if settings.kind != "processes":
        yield operator.call
        return
    context = multiprocessing.get_context("forkserver")
    cores = usable_cores()
    count = max(1, min(settings.workers or cores, pieces))
    environment = {"OMP_NUM_THREADS": str(max(1, cores // count))} | dict(os.environ)
    process = partial(ProcessPoolExecutor, 1, context, _settle, (environment, Path.cwd()))
    free: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()

    def in_a_process(work: Callable[[], T]) -> T:
        mine = free.get()
        try:
            return mine.submit(work).result()
        except BrokenProcessPool as error:
            mine = started.enter_context(process())
            raise ProcessLost(
                "the process at work died: it was killed, or there was not enough memory"
            ) from error
        finally:
            free.put(mine)

    with ExitStack() as started:
        for _ in range(count):
            free.put(started.enter_context(process()))
        yield in_a_process


def _settle(environment: dict[str, str], folder: Path) -> None:
    """Work where the flow does, also if this was forked from what had served an earlier flow, and end when it ends."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tune_process()
    Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(flow: BaseProcess) -> None:
    """End this process with that of the flow, which cannot ask for it if it is killed."""
    flow.join()
    os._exit(1)
