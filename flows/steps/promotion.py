"""The last step of a retrain: judge the registered model against the champion."""

from datetime import datetime

from flows.tracking import registry, store
from rnn_core.commands import Retrain
from rnn_core.data.prices import Prices
from rnn_core.data.windows import prices_needed
from rnn_core.nn.training import Fit
from rnn_core.operations.ledger import Decision, Ledger
from rnn_core.operations.promotion import Candidate, Judgement, judge
from rnn_core.reporting import card


def promote(
    config: Retrain,
    prices: Prices,
    live: Fit,
    forecast: tuple[float, float],
    model_version: int,
    run_id: str,
    known: card.Card,
) -> Judgement:
    """Judge the registered version, make it the champion if it passes, and record the decision.

    `live` holds the networks of the version, `forecast` what the run itself forecast with them, and
    `known` is its card so far. Nobody else decides on the ticker meanwhile.
    """
    frame = prices.frame.tail(prices_needed(config.problem))
    served = registry.call(config.ticker, model_version, frame) == forecast
    run = store.get_run(run_id)
    challenger = registry.candidate(model_version, run)
    with Ledger.open() as ledger, ledger.deciding(config.ticker) as decision:
        champion = registry.champion(config.ticker)
        note_unknown_champion(decision, champion, config.time)
        earlier = (
            registry.latest_of_other_configurations(decision.runs, champion) if champion else ()
        )
        judgement = judge(
            config.promotion,
            challenger,
            champion,
            earlier,
            unusable=len(live.lost),
            served=served,
        )
        if judgement.promoted:
            decision.promote(model_version, reason=judgement.reason, run_id=run_id, at=config.time)
            registry.set_champion_alias(config.ticker, model_version)
    champions = store.get_run(champion.run_id).data.params if champion else {}
    judged = card.judged(judgement, run.data.params, champion, champions)
    registry.describe(config.ticker, model_version, known, judged)
    return judgement


def note_unknown_champion(decision: Decision, champion: Candidate | None, at: datetime) -> None:
    """Record a champion that the ledger does not know: one set by hand or by a killed run."""
    if champion is None or decision.champions[-1:] == [champion.version]:
        return
    decision.promote(
        champion.version, reason="found as the champion", run_id=champion.run_id, at=at
    )
