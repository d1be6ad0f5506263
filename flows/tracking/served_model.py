"""The model that MLflow serves, as code: it loads arrays, never pickles.

It predicts as the evaluation did, bit for bit.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from rnn_core.config import Problem
from rnn_core.data.served_frames import Market, last_prices
from rnn_core.data.windows import inputs
from rnn_core.errors import ArrayError, DataError
from rnn_core.nn import checkpoints
from rnn_core.nn.ensemble import call
from rnn_core.nn.npz import damaged, entries

LARGEST_CALENDAR = 10_000_000  # bytes, unpacked; all sessions of an exchange take 0.1 MB
OUTPUTS = ("probability_up", "spread")


class PricesRefused(MlflowException, DataError):
    """Prices that the model cannot use. MLflow's server answers HTTP 400 with the one line."""

    def serialize_as_json(self) -> str:
        """Return the body of the answer; MLflow has put the whole frame before `self.message`."""
        return json.dumps({"error_code": self.error_code, "message": str(self)})


class DirectionModel(PythonModel):
    """Probability that the session after the last price closes up, and the ensemble's spread."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the arrays, the problem and the sessions of the logged model."""
        self.fit = checkpoints.load(Path(context.artifacts["arrays"]))
        self.problem = Problem.model_validate_json(
            Path(context.artifacts["problem"]).read_text(encoding="utf-8")
        )
        features = len(self.problem.features)
        if self.fit.center.shape[1] != features:
            raise ArrayError(
                f"{context.artifacts['arrays']} has {self.fit.center.shape[1]} inputs; "
                f"{features} are expected, one for each of problem.features"
            )
        self.market = Market(
            str(context.model_config["exchange"]),
            str(context.model_config["time_zone"]),
            _sessions(context.artifacts.get("sessions")),
        )

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return one row, `probability_up` and `spread`, for prices by session.

        `last_prices` says which frames it takes; closes without dates cannot be held against the
        exchange's sessions. MLflow passes the `inputs` and `instances` of a request as a dictionary
        of columns.

        Raises:
            PricesRefused: the prices are not a frame, or `last_prices` refuses them.
        """
        try:
            prices = last_prices(_frame(model_input), self.problem, self.market)
        except DataError as error:
            raise PricesRefused(str(error), INVALID_PARAMETER_VALUE) from error
        probability, spread = call(self.fit, inputs(self.problem, prices)[-1:])
        return pd.DataFrame({"probability_up": [probability], "spread": [spread]})


def _sessions(file: str | None) -> pd.DatetimeIndex | None:
    """Return the days of the exchange; None if the rows themselves are the sessions."""
    if file is None:
        return None
    path = Path(file)
    entry = entries(path, largest=LARGEST_CALENDAR).get("sessions")
    if entry is None or len(entry.shape) != 1 or entry.dtype != "datetime64[D]":
        raise damaged(path, "array 'sessions' is missing or holds no days")
    days = pd.DatetimeIndex(entry.array())
    if days.empty or days.hasnans or not days.is_monotonic_increasing:
        raise damaged(path, "array 'sessions' has no days in order")
    return days


def _frame(model_input: Any) -> pd.DataFrame:
    if isinstance(model_input, pd.DataFrame):
        return model_input
    try:
        return pd.DataFrame(model_input)
    except (ValueError, TypeError) as error:
        kind = type(model_input).__name__
        raise DataError(f"prices must be columns of equal length (got a {kind})") from error


set_model(DirectionModel())
