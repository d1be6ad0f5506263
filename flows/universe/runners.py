"""The Prefect task runner of a universe: Dask, or threads, which may hand on to processes."""

from typing import Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from rnn_core.config import Runner
from rnn_core.errors import ConfigError
from rnn_core.nn.engines import usable_cores

CONNECT_SECONDS = 10  # to a Dask scheduler


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
