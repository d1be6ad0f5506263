"""Registered models: `direction-<TICKER>`, with the aliases `challenger` and `champion`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from functools import partial

import pandas as pd
from mlflow.entities import LoggedModelStatus, Run
from mlflow.models import Model

from flows.tracking import calls, packaging
from flows.tracking.integrity import MANIFEST_TAG, write_manifest
from flows.tracking.queries import search
from flows.tracking.store import asking, client, experiment_of, get_run
from rnn_core.commands import Retrain
from rnn_core.data.prices import SYNTHETIC_FALLBACK, Prices
from rnn_core.errors import ChampionMissing, ConfigError, FileDamaged, NotFound, TrackingError
from rnn_core.nn.training import Fit
from rnn_core.operations.promotion import Candidate, Judgement
from rnn_core.owners import temporary_folder
from rnn_core.reporting import card

PREFIX = "direction-"
CHAMPION = "champion"
CHALLENGER = "challenger"
FOLLOWED = "ledger.decision"  # tag of a registered model: what its alias champion follows
LONGEST = 5000  # characters of a tag or a description of a version that MLflow's databases keep
MOST_IDS = 500  # in one filter of MLflow: thousands fail
LONGEST_VERSION = 9  # digits: MLflow's databases keep 32 bits, and fail at more


def model_name(ticker: str) -> str:
    """Return the name of the registered model of a ticker."""
    return PREFIX + ticker


def register(
    run_id: str, config: Retrain, prices: Prices, fit: Fit, known: card.Card
) -> int | None:
    """Log the live model as code and arrays, and register it as `challenger`, with a card.

    The model takes a frame of closing prices, and of volumes if a feature needs them, oldest first,
    and returns the probability that the session after the last one closes up. Rows with dates may
    come in any order.

    Returns:
        The version; None for fallback data, whose model is logged but not registered.
    """
    logged = client().create_logged_model(
        experiment_of(run_id), "model", source_run_id=run_id, tags={"ticker": config.ticker}
    )
    with asking(), temporary_folder() as folder:
        model = Model(run_id=run_id, model_id=logged.model_id)
        saved = packaging.save(model, folder, config.problem, prices, fit)
        manifest = write_manifest(saved)
        client().log_model_artifacts(logged.model_id, str(saved))
    client().finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    if prices.source == SYNTHETIC_FALLBACK:
        return None
    return _register_challenger(config.ticker, run_id, logged.model_id, known, manifest)


def complete_card(
    ticker: str,
    challenger: Candidate,
    champion: Candidate | None,
    judgement: Judgement,
    known: card.Card,
) -> None:
    """Add the judgement to the card of a version; `known` is what it has already.

    Raises:
        TrackingError: the store cannot be reached or used, or a run or the version was deleted.
    """
    with asking():
        settings = get_run(challenger.run_id).data.params
        champion_settings = get_run(champion.run_id).data.params if champion else {}
        judged = card.judged(judgement, settings, champion, champion_settings)
        describe(ticker, challenger.version, known, judged)


def describe(ticker: str, model_version: int, known: card.Card, judged: card.Card) -> None:
    """Add what its judgement says to the card of a version; `known` is what it has already."""
    name = model_name(ticker)
    number = str(model_version)
    for tag, value in judged.items():
        client().set_model_version_tag(name, number, tag, value[:LONGEST])
    client().update_model_version(name, number, card.text({**known, **judged})[:LONGEST])


def tell_promotion(ticker: str, model_version: int, reason: str) -> None:
    """Add to the card of a version that it was promoted; its tags have what else is known of it."""
    known = client().get_model_version(model_name(ticker), str(model_version)).tags
    promoted = {"promotion": "promoted", "promotion.reason": reason}
    describe(ticker, model_version, known, promoted)


def followed(ticker: str) -> str | None:
    """Return the name of the decision that the alias champion has followed last.

    It is None if the alias follows none: if there is no model, or an older version has decided.
    """
    try:
        tags: dict[str, str] = client().get_registered_model(model_name(ticker)).tags
    except NotFound:
        return None
    return tags.get(FOLLOWED)


def follow(ticker: str, decision: str) -> None:
    """Note which decision the alias champion has followed, if the ticker has a model."""
    with suppress(NotFound):
        client().set_registered_model_tag(model_name(ticker), FOLLOWED, decision)


def set_champion_alias(ticker: str, model_version: int) -> None:
    """Make a version the champion; if it was deleted, the ticker has none, as after a deletion."""
    name = model_name(ticker)
    try:
        client().set_registered_model_alias(name, CHAMPION, str(model_version))
    except NotFound:
        with suppress(NotFound):
            client().delete_registered_model_alias(name, CHAMPION)


def champion(ticker: str) -> Candidate | None:
    """Return the champion of the ticker, or None if it has none.

    Raises:
        ChampionMissing: the champion's run was deleted, or a retrain of the ticker has not made it.
    """
    try:
        registered = client().get_model_version_by_alias(model_name(ticker), CHAMPION)
    except NotFound:
        return None
    version = int(registered.version)
    if not registered.run_id:
        raise _foreign(ticker, version)
    with or_missing(ticker, f"its run {registered.run_id} was deleted"):
        run = get_run(registered.run_id)
    if run.data.tags.get("ticker") != ticker or "config_hash" not in run.data.tags:
        raise _foreign(ticker, version)
    if "verdict" not in run.data.tags:
        raise missing(ticker, f"its run {run.info.run_id} ended before the training was recorded")
    return candidate(version, run)


def candidate(model_version: int, run: Run) -> Candidate:
    """Return what is known of a version that the finished or finishing `run` has trained."""
    tags = run.data.tags
    return Candidate(
        version=model_version,
        run_id=run.info.run_id,
        config_hash=tags["config_hash"],
        exchange=tags["data.exchange"],
        data_source=tags["data.source"],
        data_sha256=tags["data.sha256"],
        data_last=date.fromisoformat(tags["data.last"]),
        verdict=tags["verdict"],
        scores=run.data.metrics,
        calls=partial(_calls, run),
    )


def latest_of_other_configurations(
    run_ids: Mapping[int, str], champion: Candidate
) -> tuple[list[Candidate], int]:
    """Return of the versions with another configuration than the champion's the latest of each.

    `run_ids` are the runs by version. The second value is how many of these runs were deleted:
    their versions are left out.
    """
    trained = _runs_by_id(list(run_ids.values()))
    latest = {}
    for model_version in sorted(run_ids):
        run = trained.get(run_ids[model_version])
        if run is not None and run.data.tags["config_hash"] != champion.config_hash:
            latest[run.data.tags["config_hash"]] = candidate(model_version, run)
    return list(latest.values()), len(set(run_ids.values()) - trained.keys())


def tickers_with_champion() -> list[str]:
    """Return the tickers that have a champion, in order."""
    tickers = []
    token: str | None = None
    while token != "":
        models = client().search_registered_models(f"name LIKE '{PREFIX}%'", page_token=token)
        tickers += [
            model.name.removeprefix(PREFIX) for model in models if CHAMPION in model.aliases
        ]
        token = models.token or ""
    return sorted(tickers)


def versions_with_alias(ticker: str, *, apart_from: str = "") -> set[int]:
    """Return the versions that have an alias: challenger, champion or any other.

    The alias `apart_from` does not count.
    """
    try:
        aliases = client().get_registered_model(model_name(ticker)).aliases
    except NotFound:
        return set()
    return {int(version) for alias, version in aliases.items() if alias != apart_from}


def registered(run_id: str) -> list[tuple[str, int]]:
    """Return the name and number of each version of a run's model, by whatever name it is known."""
    versions = client().search_model_versions(f"run_id = '{run_id}'")
    return [(version.name, int(version.version)) for version in versions]


def trained_by(ticker: str, version_or_alias: str) -> str | None:
    """Return the run that trained a version, by its number or alias; None if there is none."""
    name = model_name(ticker)
    is_version = version_or_alias.isdecimal()
    if is_version and len(version_or_alias) > LONGEST_VERSION:
        return None
    try:
        if is_version:
            return client().get_model_version(name, version_or_alias).run_id
        return client().get_model_version_by_alias(name, version_or_alias).run_id
    except NotFound:
        return None


def refuse_deleted(ticker: str, model_version: int) -> None:
    """Raise TrackingError if a version that its own run is at work on was deleted meanwhile."""
    if trained_by(ticker, str(model_version)) is None:
        raise TrackingError(
            f"version {model_version} of {ticker} was deleted before it was judged: its run was "
            "taken for lost, and closed; start again"
        )


def run_of(ticker: str, model_version: int) -> str:
    """Return the run that trained a version of the ticker.

    Raises:
        ConfigError: there is no such version, it was deleted, another ticker's run trained it, or
            the run ended before its training was recorded.
        ChampionMissing: its run was deleted.
        TrackingError: the store cannot be reached or used.
    """
    name = model_name(ticker)
    run_id = trained_by(ticker, str(model_version))
    if run_id is None:
        raise ConfigError(f"{name} has no version {model_version}; MLflow lists those it has")
    with or_missing(ticker, f"run {run_id} of version {model_version} was deleted"):
        tags = get_run(run_id).data.tags
    trained_on = tags.get("ticker")
    if trained_on != ticker:
        raise ConfigError(
            f"version {model_version} of {name} was trained on {trained_on}, not on {ticker}"
        )
    if "verdict" not in tags:
        raise ConfigError(
            f"version {model_version} of {name} cannot be the champion: its run {run_id} ended "
            "before the training was recorded"
        )
    return run_id


def delete(ticker: str, model_version: int) -> None:
    """Delete a version, if it exists."""
    with suppress(NotFound):
        client().delete_model_version(model_name(ticker), str(model_version))


def without_champion(ticker: str, earlier: Sequence[int]) -> ChampionMissing:
    """Return the error to raise for a ticker without a champion; `earlier` are past champions."""
    if earlier:
        return missing(ticker, f"version {earlier[-1]} was deleted, or its alias taken away")
    return ChampionMissing(
        f"{ticker} has no champion yet; retrain it: python -m flows.retrain --ticker {ticker}"
    )


def _calls(run: Run) -> pd.DataFrame | None:
    """Return the calls of a run, or None if their file is missing or damaged."""
    try:
        return calls.read(run)
    except FileDamaged:
        return None


def _runs_by_id(run_ids: Sequence[str]) -> dict[str, Run]:
    """Return the runs that exist, by id."""
    found = {}
    for start in range(0, len(run_ids), MOST_IDS):
        listed = ", ".join(f"'{run_id}'" for run_id in run_ids[start : start + MOST_IDS])
        for run in search(f"attributes.run_id IN ({listed})"):
            found[run.info.run_id] = run
    return found


def _register_challenger(
    ticker: str, run_id: str, model_id: str, known: card.Card, manifest: str
) -> int:
    name = model_name(ticker)
    with suppress(TrackingError):  # it exists already, or else the next call says what is wrong
        client().create_registered_model(name)
    registered = client().create_model_version(
        name,
        f"models:/{model_id}",
        run_id,
        tags={tag: value[:LONGEST] for tag, value in known.items()} | {MANIFEST_TAG: manifest},
        description=card.text(known)[:LONGEST],
        await_creation_for=0,
        model_id=model_id,
    )
    client().set_registered_model_alias(name, CHALLENGER, registered.version)
    return int(registered.version)


@contextmanager
def or_missing(ticker: str, reason: str) -> Iterator[None]:
    """Raise ChampionMissing with the reason if MLflow does not find what it is asked for.

    Raises:
        TrackingError: the store cannot be reached or used.
    """
    try:
        with asking():
            yield
    except NotFound as error:
        raise missing(ticker, reason) from error


def _foreign(ticker: str, model_version: int) -> ChampionMissing:
    return ChampionMissing(
        f"the champion of {ticker} cannot be used: version {model_version} was not made by a "
        f"retrain of {ticker}; retrain it, or move the alias {CHAMPION} back to a version that was"
    )


def missing(ticker: str, reason: str) -> ChampionMissing:
    """Return the error to raise for a champion that was deleted."""
    return ChampionMissing(
        f"the champion of {ticker} cannot be used: {reason}; retrain it, or return to the one "
        f"before with python -m flows.rollback --ticker {ticker}"
    )
