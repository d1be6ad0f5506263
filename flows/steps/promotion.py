"""The last step of a retrain: judge the registered model against the champion."""

import logging
from functools import cache, partial

import pandas as pd

from flows.steps import champions
from flows.tracking import registry, serving, store
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

    Raises:
        TrackingError: the version was deleted, or the store cannot be reached or used.
    """
    ticker = config.ticker
    frame = prices.frame.tail(prices_needed(config.problem))
    registry.refuse_deleted(ticker, model_version)
    served = _forecast_of(ticker, model_version, frame) == forecast
    challenger = registry.candidate(model_version, store.get_run(run_id))
    is_usable = cache(partial(_is_usable, ticker))
    with Ledger.open() as ledger:
        champions.follow_if_behind(ledger, ticker)
        present, _ = _champion_or_reason(ticker)
        if present:
            is_usable(present.version, present.run_id)  # it takes long: others may decide meanwhile
        with champions.deciding(ledger, ticker) as (decision, _):
            champion, missing = _champion_or_reason(ticker)
            champions.note_champion_by_hand(decision, champion, config.time)
            earlier, deleted = _earlier_champions(decision, champion)
            judgement = judge(
                config.promotion,
                challenger,
                champion,
                earlier,
                deleted=deleted,
                missing=missing,
                unusable=len(live.lost),
                served=served,
                damaged=champion is not None and not is_usable(champion.version, champion.run_id),
            )
            if judgement.promoted:
                reason = judgement.reason
                decision.promote(model_version, reason=reason, run_id=run_id, at=config.time)
    try:
        registry.complete_card(ticker, challenger, champion, judgement, known)
    except TrackingError as error:  # the decision stands
        version = f"version {model_version} of {ticker}"
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


def _earlier_champions(
    decision: Decision, champion: Candidate | None
) -> tuple[list[Candidate], int]:
    """Return the latest champion of each other configuration, and how many runs were deleted."""
    if champion is None:
        return [], 0
    return registry.latest_of_other_configurations(decision.runs, champion)


def _forecast_of(
    ticker: str, model_version: int, frame: pd.DataFrame
) -> tuple[float, float] | None:
    """Return what the registered version forecasts, None if it cannot be loaded."""
    try:
        return serving.call(ticker, model_version, frame)
    except ChampionMissing as error:
        logger.warning("%s", error)
        return None


def _is_usable(ticker: str, model_version: int, run_id: str) -> bool:
    """Return True if a champion can still forecast."""
    try:
        serving.refuse_unusable(ticker, model_version, run_id)
    except ChampionMissing as error:
        logger.warning("%s", error)
        return False
    return True
