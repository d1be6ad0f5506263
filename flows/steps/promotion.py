"""The last step of a retrain: the registered model is held against the champion, and may take its place."""

from datetime import datetime

from flows.tracking import registry, store
from rnn_core.commands import Retrain
from rnn_core.data.prices import Prices
from rnn_core.data.windows import prices_needed
from rnn_core.nn.training import Fit
from rnn_core.operations.ledger import Decision, Ledger
from rnn_core.operations.promotion import Candidate, Judgement, judge


def promote(
    config: Retrain,
    prices: Prices,
    live: Fit,
    forecast: tuple[float, float],
    model_version: int,
    run_id: str,
) -> Judgement:
    """Judge the registered version, make it the champion if it passes, and write the decision down.

    `live` are the networks that it serves, and `forecast` what the run itself forecast with them. While a ticker is
    decided upon nobody else decides on it.
    """
    frame = prices.frame.tail(prices_needed(config.problem))
    served = registry.call(config.ticker, model_version, frame) == forecast
    challenger = registry.candidate(model_version, store.client().get_run(run_id))
    with Ledger.open() as ledger, ledger.deciding(config.ticker) as decision:
        champion = registry.champion(config.ticker)
        catch_up(decision, champion, config.time)
        judgement = judge(
            config.promotion, challenger, champion, unusable=len(live.lost), served=served
        )
        if judgement.promoted:
            decision.promote(model_version, reason=judgement.reason, run_id=run_id, at=config.time)
            registry.set_champion_alias(config.ticker, model_version)
    return judgement


def catch_up(decision: Decision, champion: Candidate | None, at: datetime) -> None:
    """Write down a champion that the ledger does not know: made by hand, or by a run that was killed just then."""
    if champion is not None and decision.champions[-1:] != [champion.version]:
        decision.promote(
            champion.version, reason="found as the champion", run_id=champion.run_id, at=at
        )
