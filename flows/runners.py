"""What retrains the tickers of a universe side by side: threads, processes or a Dask cluster."""

import multiprocessing
import operator
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from rnn_core.config import Runner
from rnn_core.errors import ConfigError, ProcessLost

T = TypeVar("T")
Perform: TypeAlias = Callable[[Callable[[], T]], T]
"""What does a piece of work and returns what came of it."""

CONNECT_SECONDS = 10  # to a Dask scheduler


def task_runner(settings: Runner) -> TaskRunner[Any]:
    """What runs the tickers' tasks side by side: the Dask cluster, or threads, which may leave the work to processes.

    Raises:
        ConfigError: the Dask scheduler does not answer, or prefect-dask is not installed.
    """
    if settings.kind != "dask":
        return ThreadPoolTaskRunner(max_workers=settings.workers or os.cpu_count())
    try:
        from distributed import Client
        from prefect_dask.task_runners import DaskTaskRunner

        Client(settings.address, timeout=CONNECT_SECONDS, set_as_default=False).close()
    except ImportError as error:
        raise ConfigError(f"runner dask needs {error.name}: pip install 'rnnflow[dask]'") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"runner.address {settings.address}: no Dask scheduler answers there") from error
    return DaskTaskRunner(address=settings.address)


@contextmanager
def performer(settings: Runner, imports: str) -> Iterator[Perform[Any]]:
    """What does the work of the tasks' threads: these themselves, or for `processes` one process for each at a time.

    All processes are forked from one that has imported the module `imports`. Prefect's own process runner spawns
    them: each imports for itself, and sets up Prefect anew for every task. Each is a pool of its own: if it dies, it
    takes only the work along that it was at, for which ProcessLost is raised, and a new one takes its place.
    """
    if settings.kind != "processes":
        yield operator.call
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([imports])
    process = partial(ProcessPoolExecutor, 1, context, _settle, (dict(os.environ), Path.cwd()))
    free: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()

    def in_a_process(work: Callable[[], T]) -> T:
        mine = free.get()
        try:
            return mine.submit(work).result()
        except BrokenProcessPool as error:
            mine = started.enter_context(process())
            raise ProcessLost("the process at work died: it was killed, or there was not enough memory") from error
        finally:
            free.put(mine)

    with ExitStack() as started:
        for _ in range(settings.workers or os.cpu_count() or 1):
            free.put(started.enter_context(process()))
        yield in_a_process


def _settle(environment: dict[str, str], folder: Path) -> None:
    """Work where the flow does, also if this was forked from what had served an earlier flow, and end when it ends."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(flow: BaseProcess) -> None:
    """End this process with that of the flow, which cannot ask for it if it is killed."""
    flow.join()
    os._exit(1)
