"""The table of calls that a training run has logged."""

from io import StringIO

import numpy as np
import pandas as pd
from mlflow.entities import Run

from flows.tracking.files import CALLS, text
from flows.tracking.store import one_line
from rnn_core.errors import FileDamaged


def read(run: Run) -> pd.DataFrame:
    """Return the table of calls that a training run has logged, by date.

    Raises:
        FileDamaged: its file is missing or damaged.
        TrackingError: the store cannot be reached or used.
    """
    content = StringIO(text(run, CALLS))
    try:
        table = pd.read_csv(content, index_col="date", parse_dates=True, date_format="ISO8601")
        _refuse_damaged(table)
    except (LookupError, ValueError) as error:
        raise FileDamaged(
            f"{CALLS} of run {run.info.run_id} cannot be read ({one_line(error)})"
        ) from error
    return table


def _refuse_damaged(calls: pd.DataFrame) -> None:
    """Raise ValueError, or KeyError, if a day, a date or a number of the calls is missing."""
    dates = pd.to_datetime(calls.index, format="ISO8601")  # raises ValueError for text
    numbers = calls.astype(float)[["probability", "up", "next_return"]]
    if calls.empty:
        raise ValueError("it has no rows")
    if dates.hasnans or not np.isfinite(numbers.to_numpy()).all():
        raise ValueError("a date or a number is missing")
    if not dates.is_unique or not numbers["probability"].between(0, 1).all():
        raise ValueError("a date is there twice, or a probability is outside 0 to 1")
