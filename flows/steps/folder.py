"""The one folder below which runs of deployments read files.

Whoever may start a deployment chooses its parameters, and is not always somebody who may read
every file of the worker's machine. A run from the shell reads what its user may read.
"""

import os
from pathlib import Path

from prefect.context import FlowRunContext

from rnn_core.config import File, Source
from rnn_core.data.files import file_of
from rnn_core.errors import ConfigError

VARIABLE = "RNNFLOW_DATA"
DEFAULT = "data"  # in the working folder


def refuse_file_elsewhere(source: Source | None, ticker: str) -> None:
    """Refuse a file of prices that this run may not read, as `refuse_elsewhere` does."""
    if isinstance(source, File):
        refuse_elsewhere("source.path", file_of(source, ticker))


def refuse_elsewhere(option: str, path: Path) -> None:
    """Refuse a path outside the folder, however it is spelled, if a deployment has started the run.

    Raises:
        ConfigError: the path, its symbolic links followed, is not below the folder.
    """
    if not _is_deployed():
        return
    folder = Path(os.environ.get(VARIABLE) or DEFAULT)
    try:
        is_below = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle, a name that cannot be
        is_below = False
    if not is_below:
        raise ConfigError(
            f"{option} {path} is outside {folder.absolute()}, below which runs of deployments read "
            f"files; move it there, or set {VARIABLE} to another folder where the worker starts"
        )


def _is_deployed() -> bool:
    """Return True for a run that a worker or a deployment has started, False from the shell."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    has_deployment = flow_run is not None and flow_run.deployment_id is not None
    return has_deployment or "PREFECT__FLOW_RUN_ID" in os.environ
