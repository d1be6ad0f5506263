"""What retrains the tickers of a universe side by side: threads, processes or a Dask cluster."""

import multiprocessing
import os
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from rnn_core.config import Runner
from rnn_core.errors import ConfigError

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


def processes(settings: Runner, imports: str) -> AbstractContextManager[Executor | None]:
    """Processes that do the work of the tasks' threads; None for another kind of runner.

    All are forked from one that has imported the module `imports`. Prefect's own process runner spawns them: each
    imports for itself, and sets up Prefect anew for every task.
    """
    if settings.kind != "processes":
        return nullcontext()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([imports])
    return ProcessPoolExecutor(settings.workers, context, _settle, (dict(os.environ), Path.cwd()))


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
