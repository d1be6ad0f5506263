"""The S&P 500 from 1999 to 2018: what is called skill there must not be read as money."""

import arch.data.sp500
import pandas as pd

from rnn_core.config import Evaluation as Settings
from rnn_core.config import Model, Problem, Training
from rnn_core.data.folds import folds
from rnn_core.data.prices import Prices
from rnn_core.data.windows import windows
from rnn_core.evaluation.evaluation import evaluate
from rnn_core.nn.ensemble import out_of_sample
from rnn_core.nn.training import fit


def test_skill_on_an_index_is_said_with_what_the_simplest_baseline_knows_and_earns() -> None:
    """The account breaks even at 13 bp because the index rose; its timing earned nothing."""
    table = arch.data.sp500.load()
    index = pd.DatetimeIndex(table.index).as_unit("ns").rename("date")
    close = pd.DataFrame({"close": table["Adj Close"].to_numpy(float)}, index=index)
    built = windows(Problem(), Prices("SPX", close, "file", "Adj Close", "XNYS"))
    walk = folds(Settings(), built)
    training = Training(dtype="float32", seed=1)
    logits = out_of_sample(fit(Model(), training, built, walk), built, walk)
    found = evaluate(built, walk, logits, Settings(), shrinkage=training.shrinkage)
    assert found.verdict.headline == "skill in direction, not shown to be tradable at 5 bp"
    assert found.scores["backtest/break_even_cost"] > 5
    assert abs(found.scores["backtest/timing_t"]) < 1.6
    assert "reversal passes too" in found.verdict.reason
    assert "always calling the majority class is right on 53.8%" in found.verdict.reason
