"""The model that MLflow serves, as code: it loads arrays, never pickles.

It predicts as the evaluation did, bit for bit.
"""

import json
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from rnn_core.config import Problem
from rnn_core.data.features import FEATURES
from rnn_core.data.time_stamps import sessions_of
from rnn_core.data.windows import inputs, prices_needed
from rnn_core.errors import DataError
from rnn_core.nn import checkpoints
from rnn_core.nn.ensemble import call

DATE = "date"  # a column that may be there
OUTPUTS = ("probability_up", "spread")
LONGEST_VALUE = 40  # characters of a wrong value that an error repeats


class PricesRefused(MlflowException, DataError):
    """Prices that the model cannot use. MLflow's server answers HTTP 400 with the one line."""

    def serialize_as_json(self) -> str:
        """Return the body of the answer; MLflow has put the whole frame before `self.message`."""
        return json.dumps({"error_code": self.error_code, "message": str(self)})


def columns(problem: Problem) -> list[str]:
    """Return the columns of prices that the features of `problem` need."""
    return ["close", "volume"] if _needing_volume(problem) else ["close"]


class DirectionModel(PythonModel):
    """Probability that the session after the last price closes up, and the ensemble's spread."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the arrays, the problem and the exchange's time zone of the logged model."""
        self.fit = checkpoints.load(Path(context.artifacts["arrays"]))
        self.problem = Problem.model_validate_json(
            Path(context.artifacts["problem"]).read_text(encoding="utf-8")
        )
        self.zone = str(context.model_config["time_zone"])

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return one row, `probability_up` and `spread`, for prices by session.

        They are sorted by the column `date`, else by an index of dates or of text; time stamps mean
        sessions as they do in files. Rows without dates are in order, the oldest first.

        Raises:
            PricesRefused: a column is missing, there are fewer prices than one window needs, a
                price or volume is no usable number, or the order of the rows is not certain.
        """
        needed = prices_needed(self.problem)
        _refuse_missing_columns(model_input, self.problem)
        frame = _in_order(model_input, self.zone).tail(needed)
        if len(frame) < needed:
            raise _refused(f"the model needs the last {needed} prices (got {len(frame)})")
        numbers = {name: _numbers(frame[name]) for name in columns(self.problem)}
        probability, spread = call(self.fit, inputs(self.problem, pd.DataFrame(numbers))[-1:])
        return pd.DataFrame({"probability_up": [probability], "spread": [spread]})


def _needing_volume(problem: Problem) -> list[str]:
    return [name for name in problem.features if FEATURES[name].needs_volume]


def _refuse_missing_columns(frame: pd.DataFrame, problem: Problem) -> None:
    if "close" not in frame:
        raise _refused("the model needs the column close; there is none")
    features = _needing_volume(problem)
    if features and "volume" not in frame:
        raise _refused(
            f"the model needs the column volume, because of its feature {', '.join(features)}; "
            "there is none"
        )


def _in_order(frame: pd.DataFrame, zone: str) -> pd.DataFrame:
    """Return the rows (L) by session, the oldest first."""
    stamps = frame[DATE] if DATE in frame else frame.index.to_series()
    if pd.api.types.is_numeric_dtype(stamps) and DATE not in frame:
        if not (frame.index.is_monotonic_increasing and frame.index.is_unique):
            raise _refused("the index must rise, or hold the dates of the sessions")
        return frame
    dates = sessions_of(stamps, zone)
    if dates.hasnans:
        wrong = _shown(stamps[dates.isna()].iloc[0])
        raise _refused(f"every date must be written such as 2013-01-31 (got {wrong})")
    if not dates.is_unique:
        twice = dates[dates.duplicated()][0]
        raise _refused(f"every session must have one price; {twice:%Y-%m-%d} has several")
    return frame.set_axis(dates).sort_index()


def _numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """Return the values (L,) as float64: closes above zero, volumes of zero or more."""
    numbers = pd.Series([_number(value) for value in column], column.index, dtype=float)
    is_close = column.name == "close"
    usable = np.isfinite(numbers) & ((numbers > 0) if is_close else (numbers >= 0))
    if not usable.all():
        allowed = "above zero" if is_close else "of zero or more"
        wrong = _shown(column[~usable].iloc[0])
        raise _refused(f"every {column.name} must be a number {allowed} (got {wrong})")
    return numbers


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return nan


def _shown(value: Any) -> str:
    return " ".join(str(value).split())[:LONGEST_VALUE]


def _refused(reason: str) -> PricesRefused:
    return PricesRefused(reason, INVALID_PARAMETER_VALUE)


set_model(DirectionModel())
