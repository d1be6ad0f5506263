"""The Prefect task runner of a universe: Dask, or threads, which may hand on to processes."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from rnn_core.config import Runner
from rnn_core.errors import ConfigError
from rnn_core.nn.engines import usable_cores

CONNECT_SECONDS = 20  # to a Dask scheduler
BETWEEN_LOOKS = 1.0  # seconds
PATIENCE = 120.0  # seconds without a worker: a nanny starts one again within a few


def task_runner(settings: Runner) -> TaskRunner[Any]:
    """Return what runs the tickers' tasks side by side: a Dask cluster, or threads.

    Raises:
        ConfigError: the Dask scheduler does not answer, or prefect-dask is not installed.
    """
    if settings.kind != "dask":
        return ThreadPoolTaskRunner(max_workers=settings.workers or usable_cores())
    try:
        from distributed import Client
        from prefect_dask.task_runners import DaskTaskRunner

        Client(settings.address, timeout=CONNECT_SECONDS, set_as_default=False).close()
    except ImportError as error:
        raise ConfigError(f"runner dask needs {error.name}: pip install 'rnnflow[dask]'") from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"runner.address {settings.address}: no Dask scheduler answers there"
        ) from error
    return DaskTaskRunner(address=settings.address)


@contextmanager
def while_workers_come(
    runner: TaskRunner[Any], futures: Collection[PrefectFuture[Any]]
) -> Iterator[None]:
    """Cancel the futures in the block once a Dask cluster has had no worker for `PATIENCE` seconds.

    Dask itself waits for a worker for ever; if it loses the scheduler, it cancels them itself.
    """
    if isinstance(runner, ThreadPoolTaskRunner):
        yield
        return
    over = Event()
    watch = Thread(target=_watch, args=(runner, futures, over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _watch(runner: Any, futures: Collection[Any], over: Event) -> None:
    last_seen = time.monotonic()
    while not over.wait(BETWEEN_LOOKS):
        if _has_workers(runner.client):
            last_seen = time.monotonic()
        elif time.monotonic() - last_seen > PATIENCE:
            waiting = [future.wrapped_future for future in futures]
            reason = f"the Dask cluster has had no worker for {PATIENCE:g} seconds"
            runner.client.cancel([one for one in waiting if not one.done()], reason=reason)
            return


def _has_workers(client: Any) -> bool:
    """Return False if the scheduler says that it has no worker."""
    try:
        return bool(client.nthreads())
    except OSError:
        return True  # the scheduler is lost
