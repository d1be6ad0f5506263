"""The configuration: frozen, without unknown fields, and every value checked."""

from dataclasses import FrozenInstanceError, asdict, fields, replace
from typing import Any

import pytest
from pydantic import ValidationError

from rnn_core.commands import Retrain
from rnn_core.config import Model, Problem, Runner, Synthetic, Training, Yahoo
from rnn_core.identity import config_hash, flatten
from rnn_core.nn import settings


@pytest.mark.parametrize(
    ("section", "name", "refused"),
    [(Problem(), "seq_len", ValidationError), (Training(), "epochs", FrozenInstanceError)],
)
def test_it_is_frozen(section: Any, name: str, refused: type[Exception]) -> None:
    with pytest.raises(refused, match=r"frozen|cannot assign"):
        setattr(section, name, 3)


def test_it_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Retrain.model_validate({"problem": {"epoch": 3}})
    with pytest.raises(ValidationError, match=r"training.epoch\n  Unexpected keyword argument"):
        Retrain.model_validate({"training": {"epoch": 3}})


@pytest.mark.parametrize("ticker", ["AAPL", "078935.KS", "BRK-B", "^GSPC", "EURUSD=X", "0700.HK"])
def test_tickers_as_yahoo_spells_them_are_taken(ticker: str) -> None:
    assert Retrain(ticker=ticker).ticker == ticker


@pytest.mark.parametrize(
    "ticker", ["", "A/B", "..", "A..B", ".A", "-A", "^=", "A B", "A\n", "a\\b", "Ü", "x" * 33]
)
def test_tickers_that_would_leave_a_folder_or_a_name_are_refused(ticker: str) -> None:
    with pytest.raises(ValidationError, match="ticker"):
        Retrain(ticker=ticker)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dropout": 0.2}, r"model\.dropout .* \(got dropout=0\.2, num_layers=1\)"),
        ({"init": "identity"}, r"model\.init=identity .* \(got cell=rnn_tanh\)"),
        ({"forget_bias": 1.0}, r"model\.forget_bias .* \(got cell=rnn_tanh, bias=true\)"),
        (
            {"cell": "lstm", "forget_bias": 1.0, "bias": False},
            r"model\.forget_bias .* \(got cell=lstm, bias=false\)",
        ),
        ({"cell": "transformer"}, "cell"),
        ({"dropout": 1.0, "num_layers": 2}, "dropout"),
    ],
)
def test_a_model_option_without_effect_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Model(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "cuda"}, r"training\.device=cuda .* \(got engine=numpy\)"),
        ({"momentum": 0.9}, r"training\.momentum .* \(got momentum=0\.9, optimiser=adam\)"),
        ({"class_weights": (1.0, 0.0)}, "greater than 0"),
        ({"class_weights": (1.0, float("nan"))}, "class_weights"),
    ],
)
def test_a_training_option_without_effect_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Training(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "dask"}, r"runner\.address is required for kind=dask .* \(got kind=dask\)"),
        ({"address": "tcp://127.0.0.1:8786"}, r"runner\.address .* \(got kind=threads\)"),
        (
            {"kind": "dask", "address": "tcp://127.0.0.1:8786", "workers": 4},
            r"runner\.workers is not allowed for kind=dask, .* \(got workers=4\)",
        ),
    ],
)
def test_a_runner_option_of_another_kind_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Runner(**options)


def test_what_does_not_fit_next_day_direction_is_refused() -> None:
    with pytest.raises(
        ValidationError,
        match=r"model\.readout must be last: .* \(got steps\)",
    ):
        Retrain(model=Model(readout="steps"))
    with pytest.raises(
        ValidationError,
        match=r"model\.readout must be last: .* \(got steps\)",
    ):
        Retrain(model=Model(readout="steps", bidirectional=True))
    with pytest.raises(
        ValidationError, match=r"training\.class_weights must be 2 .* \(got \(1\.0, 2\.0, 3\.0\)\)"
    ):
        Retrain(training=Training(class_weights=(1.0, 2.0, 3.0)))
    with pytest.raises(
        ValidationError, match=r"problem\.features must differ \(got return, return\)"
    ):
        Problem(features=("return", "return"))


def test_a_source_is_yahoo_unless_it_says_otherwise_and_now_is_utc() -> None:
    assert Retrain.model_validate({"source": {"fallback": "none"}}).source == Yahoo(fallback="none")
    assert Retrain.model_validate(
        {"source": {"kind": "synthetic", "edge": 0.1}}
    ).source == Synthetic(edge=0.1)
    now = Retrain.model_validate({"now": "2013-02-28T22:00:00"}).now
    assert now is not None
    assert now.isoformat() == "2013-02-28T22:00:00+00:00"


def test_leaves_have_dotted_names() -> None:
    flat = flatten(Retrain(training=Training(epochs=7)))
    assert flat["training.epochs"] == 7
    assert flat["source.kind"] == "yahoo"
    assert flat["problem.features"] == ["return", "direction"]
    assert Retrain.model_validate_json(Retrain().model_dump_json()) == Retrain()


@pytest.mark.parametrize(
    ("checked", "plain"), [(Model, settings.Model), (Training, settings.Training)]
)
def test_what_is_checked_is_what_training_takes(checked: Any, plain: Any) -> None:
    assert asdict(checked()) == asdict(plain())
    assert isinstance(checked(), plain)
    bounds = {"ge", "gt", "le", "lt"}
    for own in fields(plain):
        said = own.metadata
        assert said.keys() <= bounds | {
            "description"
        }  # pydantic would pass over a word that it does not know
        for bound in bounds & said.keys():  # a value beyond each bound is refused, by name
            beyond = said[bound] + {"ge": -1, "gt": 0, "le": 1, "lt": 0}[bound]
            with pytest.raises(ValidationError, match=own.name):
                replace(checked(), **{own.name: beyond})


def test_the_hash_names_what_was_tried_and_neither_data_nor_seed_nor_engine() -> None:
    same = Retrain(ticker="MSFT", source=Synthetic(), training=Training(seed=3, engine="torch"))
    assert config_hash(Retrain()) == config_hash(same)
    assert config_hash(Retrain()) != config_hash(Retrain(training=Training(epochs=39)))
    assert config_hash(Retrain()) != config_hash(Retrain(problem=Problem(seq_len=11)))
