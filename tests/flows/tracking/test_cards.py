"""Every version in a real registry says what it is worth, as far as that is known."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from flows.retrain import retrain
from flows.tracking import registry
from flows.universe.flow import retrain_universe
from rnn_core.config import File, Model, Promotion
from rnn_core.reporting.card import LABELS, UNJUDGED
from rnn_core.safe_text import in_markdown
from tests.flows.conftest import AAPL, TINY

PRICES: dict[str, Any] = {"source": File(path=AAPL)}
ALWAYS = {"verdict", "verdict.reason", "pvalue", "look", "accuracy", "majority_accuracy"}
ALWAYS |= {"data.last", "data.sha256", "promotion"}


@pytest.fixture(scope="module", autouse=True)
def _ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One ledger for all tests here, as they share a store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEDGER_URL", f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db")
        yield


@pytest.fixture(scope="module")
def first(runs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("first"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs_folder}/mlflow.db")
        retrain(ticker="CARD", **PRICES, **TINY)


def version(number: int, ticker: str = "CARD") -> ModelVersion:
    return MlflowClient().get_model_version(registry.model_name(ticker), str(number))


def assert_agrees_with_its_run(card: ModelVersion) -> None:
    """What the card says is what the run has recorded, and the description says it all."""
    run = MlflowClient().get_run(str(card.run_id)).data
    assert card.tags["verdict"] == run.tags["verdict.headline"]
    assert card.tags["verdict.reason"] == run.tags["verdict.reason"]
    assert card.tags["data.last"] == run.tags["data.last"] == "2013-03-01"
    assert card.tags["data.sha256"] == run.tags["data.sha256"]
    numbers = {
        "pvalue": "significance/conditional_pvalue_adjusted",
        "look": "significance/trials",
        "accuracy": "test/accuracy",
        "majority_accuracy": "baseline/majority_accuracy",
    }
    for tag, metric in numbers.items():
        if metric in run.metrics:
            assert float(card.tags[tag]) == pytest.approx(run.metrics[metric], rel=1e-3), tag
        else:
            assert card.tags[tag] == "undefined", tag
    assert_described(card)


def assert_described(card: ModelVersion) -> None:
    lines = str(card.description).splitlines()
    assert lines[0] == f"### {card.tags['verdict']}"
    for tag, label in LABELS.items():
        if tag in card.tags and tag != "verdict":
            assert f"| {label} | {in_markdown(card.tags[tag])} |" in lines


def test_the_first_version_is_champion_and_says_why(first: None) -> None:
    card = version(1)
    assert_agrees_with_its_run(card)
    assert card.tags.keys() >= ALWAYS
    assert card.tags["promotion"] == "promoted"
    assert card.tags["promotion.reason"].endswith("there is no champion yet")
    assert card.tags["champion.differences"] == "there was no champion"


def test_a_version_that_is_not_promoted_says_why_and_how_it_differs(first: None) -> None:
    settings = TINY | {"model": Model(hidden_size=5), "promotion": Promotion(require_skill=True)}
    done = retrain(ticker="CARD", **PRICES, **settings)
    card = version(done.version)
    assert_agrees_with_its_run(card)
    assert card.tags["pvalue"] != "undefined"
    assert card.tags["promotion"] == "not promoted"
    assert card.tags["promotion.reason"] == done.judgement.reason
    assert card.tags["champion.differences"] == (
        "against version 1: model.hidden_size is 5, not 4; "
        "promotion.require_skill is True, not False"
    )


def test_a_version_of_the_same_settings_has_no_differences(first: None) -> None:
    done = retrain(ticker="CARD", **PRICES, **TINY)
    card = version(done.version)
    assert card.tags["champion.differences"] == "against version 1: none"
    assert card.tags["promotion.reason"] == "version 1 has learned from the same prices"


def test_a_version_that_is_not_judged_yet_has_what_is_known_at_registration(
    first: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If its retrain dies then, the version is deleted."""
    unjudged: list[ModelVersion] = []

    def killed(*_: object) -> None:
        unjudged.append(version(1, "KILLED"))
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.steps.learning.records.log_training", killed)
    with pytest.raises(KeyboardInterrupt):
        retrain(ticker="KILLED", **PRICES, **TINY)
    assert not MlflowClient().search_model_versions("name = 'direction-KILLED'")
    [card] = unjudged
    assert card.tags.keys() >= ALWAYS
    assert card.tags["promotion"] == UNJUDGED
    assert card.tags["data.last"] == "2013-03-01"
    assert_described(card)


def test_a_child_of_a_universe_has_a_card_too(first: None) -> None:
    retrain_universe(tickers=("CARDU",), **PRICES, **TINY)
    card = version(1, "CARDU")
    assert_agrees_with_its_run(card)
    assert card.tags["promotion"] == "promoted"


def test_what_is_longer_than_mlflow_keeps_is_cut(first: None) -> None:
    known = version(1).tags
    registry.describe("CARD", 1, known, {"promotion.reason": "because " * 1000})
    card = version(1)
    assert len(card.tags["promotion.reason"]) == len(str(card.description)) == registry.LONGEST
    assert str(card.description).startswith("### ")
