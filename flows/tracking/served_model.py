"""The model that MLflow serves, as code: it loads arrays, never pickles.

It predicts as the evaluation did, bit for bit.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from rnn_core.config import Problem
from rnn_core.data.features import FEATURES
from rnn_core.data.windows import inputs, prices_needed
from rnn_core.errors import DataError
from rnn_core.nn import checkpoints
from rnn_core.nn.ensemble import call

OUTPUTS = ("probability_up", "spread")


def columns(problem: Problem) -> list[str]:
    """Return the columns of prices that the features of `problem` need."""
    needs_volume = any(FEATURES[name].needs_volume for name in problem.features)
    return ["close", "volume"] if needs_volume else ["close"]


class DirectionModel(PythonModel):
    """Probability that the session after the last price closes up, and the ensemble's spread."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the arrays and the problem that were logged with the model."""
        self.fit = checkpoints.load(Path(context.artifacts["arrays"]))
        self.problem = Problem.model_validate_json(
            Path(context.artifacts["problem"]).read_text(encoding="utf-8")
        )

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return one row, `probability_up` and `spread`, for prices by session, oldest first.

        Raises:
            DataError: there are fewer prices than one window needs, or one is no number above zero.
        """
        needed = prices_needed(self.problem)
        frame = model_input[columns(self.problem)].astype(float).tail(needed)
        if len(frame) < needed:
            raise DataError(f"{len(frame)} prices received; the model needs the last {needed}")
        usable = np.isfinite(frame["close"]) & (frame["close"] > 0)
        if not usable.all():
            wrong = frame["close"][~usable].iloc[0]
            raise DataError(f"every close must be a number above zero; received {wrong}")
        probability, spread = call(self.fit, inputs(self.problem, frame)[-1:])
        return pd.DataFrame({"probability_up": [probability], "spread": [spread]})


set_model(DirectionModel())
