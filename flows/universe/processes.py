"""The processes that do the work of a universe's tasks.

They are forked from one process that has imported what they need, once. Those of Prefect's own
process runner import everything themselves, and set up Prefect anew for every task.
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
from threading import Event, Thread
from typing import Any, TypeAlias, TypeVar

from rnn_core.config import Runner
from rnn_core.errors import ProcessLost
from rnn_core.nn.engines import usable_cores
from rnn_core.nn.memory import tune_process

# What does the work, and what that imports only when it is needed
IMPORTED = (
    "flows.steps.learning",
    "mlflow.store.tracking.sqlalchemy_store",
    "arch.bootstrap",
    "sklearn.linear_model",
    "statsmodels.tsa.stattools",
)
T = TypeVar("T")
Perform: TypeAlias = Callable[[Callable[[], T]], T]
"""Does a piece of work and returns its result."""


def prepare(settings: Runner) -> None:
    """Start the process that others are forked from, which imports for seconds."""
    if settings.kind == "processes":
        forkserver.set_forkserver_preload(list(IMPORTED))
        forkserver.ensure_running()


@contextmanager
def performer(settings: Runner, pieces: int) -> Iterator[Perform[Any]]:
    """Yield what does the work of a task: its own thread, or for `processes` one of them.

    Each process is a pool of its own. If it dies, only the piece of work it was doing is lost:
    ProcessLost is raised for that, and a new process takes its place. There are no more processes
    than `pieces` of work, and they share the cores: two processes on two cores, each with threads
    for both, take 1.3 to 1.6 times as long. A signal that ends the flow ends them at once.
    """
    if settings.kind != "processes":
        yield operator.call
        return
    cores = usable_cores()
    count = max(1, min(settings.workers or cores, pieces))
    environment = {"OMP_NUM_THREADS": str(max(1, cores // count))} | dict(os.environ)
    context = multiprocessing.get_context("forkserver")
    new_process = partial(ProcessPoolExecutor, 1, context, _settle, (environment, Path.cwd()))
    free: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()
    interrupted = Event()

    def in_a_process(work: Callable[[], T]) -> T:
        process = free.get()
        try:
            return process.submit(work).result()
        except BrokenProcessPool as error:
            if not interrupted.is_set():
                process = started.enter_context(new_process())
            raise ProcessLost(
                "the process at work died: it was killed, or there was not enough memory"
            ) from error
        finally:
            free.put(process)

    with ExitStack() as started:
        for _ in range(count):
            free.put(started.enter_context(new_process()))
        try:
            yield in_a_process
        except Exception:
            raise
        except BaseException:  # a signal: nobody waits for what is at work
            interrupted.set()
            for child in multiprocessing.active_children():
                child.kill()
            raise


def _settle(environment: dict[str, str], folder: Path) -> None:
    """Work where the flow does, and end with it; this process may have served an earlier flow."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tune_process()
    Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(flow: BaseProcess) -> None:
    """End this process with that of the flow, which cannot ask for it if it is killed."""
    flow.join()
    os._exit(1)
