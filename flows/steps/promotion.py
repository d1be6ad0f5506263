"""The last step of a retrain: judge the registered model against the champion."""

import logging
from datetime import datetime

from flows.tracking import registry, store
from rnn_core.commands import Retrain
from rnn_core.data.prices import Prices
from rnn_core.data.windows import prices_needed
from rnn_core.errors import ChampionMissing, TrackingError
from rnn_core.nn.training import Fit
from rnn_core.operations.ledger import Decision, Ledger
from rnn_core.operations.promotion import Candidate, Judgement, judge
from rnn_core.reporting import card

logger = logging.getLogger(__name__)


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
    challenger = registry.candidate(model_version, store.get_run(run_id))
    with Ledger.open() as ledger, ledger.deciding(config.ticker) as decision:
        champion, missing = _champion_or_reason(config.ticker)
        note_unknown_champion(decision, champion, config.time)
        earlier: list[Candidate] = []
        deleted = 0
        if champion:
            earlier, deleted = registry.latest_of_other_configurations(decision.runs, champion)
        judgement = judge(
            config.promotion,
            challenger,
            champion,
            earlier,
            deleted=deleted,
            missing=missing,
            unusable=len(live.lost),
            served=served,
        )
        if judgement.promoted:
            decision.promote(model_version, reason=judgement.reason, run_id=run_id, at=config.time)
            registry.set_champion_alias(config.ticker, model_version)
    try:
        registry.complete_card(config.ticker, challenger, champion, judgement, known)
    except TrackingError as error:  # the decision stands
        version = f"version {model_version} of {config.ticker}"
        logger.warning("the card of %s lacks the judgement: %s", version, error)
    return judgement


def _champion_or_reason(ticker: str) -> tuple[Candidate | None, str]:
    """Return the champion; if there is one that cannot be used, None and the reason."""
    try:
        return registry.champion(ticker), ""
    except ChampionMissing as error:
        reason = str(error).partition(";")[0]
        logger.warning("%s", reason)
        return None, reason


def note_unknown_champion(decision: Decision, champion: Candidate | None, at: datetime) -> None:
    """Record a champion that the ledger does not know: one set by hand or by a killed run."""
    if champion is None or decision.champions[-1:] == [champion.version]:
        return
    decision.promote(
        champion.version, reason="found as the champion", run_id=champion.run_id, at=at
    )
