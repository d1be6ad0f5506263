"""Each look at test days is in the ledger before anybody sees a score of them."""

import pandas as pd

from flows.tracking import queries, runs
from rnn_core.commands import Retrain, Study
from rnn_core.data.prices import Prices
from rnn_core.evaluation import names
from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.evaluation.spending import Look
from rnn_core.identity import question_hash
from rnn_core.operations.ledger import Ledger
from rnn_core.operations.looks import Question


def ask(
    config: Retrain | Study, prices: Prices, outcomes: "pd.Series[float]", run_id: str
) -> tuple[int, Look]:
    """Write down that the run asks its question of the test days.

    Args:
        config: the settings, seed and source.
        prices: that are asked.
        outcomes: (n,) log return that each call out of sample is about, by day of the call.
        run_id: the run.

    Returns:
        The id of the look in the ledger, and which look it is.
    """
    question = Question(question_hash(config), prices, outcomes)
    before = (
        queries.tries_before_looks(config, outcomes, prices.source)
        if isinstance(config, Retrain)
        else 0
    )
    with Ledger.open() as ledger:
        look_id, look = ledger.ask(question, run_id, before=before)
    runs.log(run_id, tags={queries.LOOK: str(look_id)})
    return look_id, look


def answer(look_id: int, evaluation: Evaluation) -> None:
    """Write down what the look has found."""
    pvalue = evaluation.scores.get(names.CONDITIONAL_PVALUE)
    with Ledger.open() as ledger:
        ledger.answer(look_id, pvalue, evaluation.verdict.tag)
