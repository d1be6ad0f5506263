"""Orchestration: Prefect runs the steps of `rnn_core`, MLflow records them."""

import logging
import os
from contextlib import suppress
from time import perf_counter
from typing import Any

STARTED = perf_counter()

# Imports take seconds, and are counted
from rnn_core.errors import RnnflowError  # noqa: E402
from rnn_core.safe_text import safe  # noqa: E402

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it takes DO_NOT_TRACK=1 for a no
os.environ.setdefault("PREFECT_RESULTS_DEFAULT_SERIALIZER", "json")  # the default is pickle
# The default of 20 seconds is short on a busy machine
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")


class WithoutTraceback(logging.Filter):
    """Removes the traceback of errors that are raised on purpose: their message is enough."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record."""
        if record.exc_info and isinstance(record.exc_info[1], RnnflowError):
            record.exc_info = None
            record.exc_text = None
        return True


MAKE_RECORD = logging.getLogRecordFactory()
TRACEBACKS = logging.Formatter()


def safe_record(*args: Any, **options: Any) -> logging.LogRecord:
    """Return a log record, of whichever library, that holds no password."""
    record = MAKE_RECORD(*args, **options)
    with suppress(TypeError, ValueError, LookupError):  # arguments that do not fit the message
        message = record.getMessage()
        if safe(message) != message:
            record.msg = safe(message)
            record.args = ()
    if record.exc_info:
        traceback = TRACEBACKS.formatException(record.exc_info)
        if safe(traceback) != traceback:
            record.exc_text = safe(traceback)
    return record


logging.setLogRecordFactory(safe_record)


RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
WITHOUT_TRACEBACK = WithoutTraceback()
for run_logger in RUN_LOGGERS:
    logging.getLogger(run_logger).addFilter(WITHOUT_TRACEBACK)
