"""Orchestration: Prefect runs the steps of `rnn_core`, MLflow records them."""

import logging
import os
from time import perf_counter

STARTED = perf_counter()

from rnn_core.errors import RnnflowError  # noqa: E402 - imports take seconds, and are counted

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
        return True


RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
WITHOUT_TRACEBACK = WithoutTraceback()
for run_logger in RUN_LOGGERS:
    logging.getLogger(run_logger).addFilter(WITHOUT_TRACEBACK)
