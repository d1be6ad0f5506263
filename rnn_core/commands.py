"""What each flow can be told, as one frozen tree a flow.

The same classes are the command line, the run form of a deployment, the validated parameters of a flow run and,
flattened, the recorded parameters of a tracked run.
"""

import hashlib
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator

from rnn_core.config import (
    Evaluation,
    Model,
    Problem,
    Promotion,
    Runner,
    Section,
    Source,
    StudyTraining,
    Training,
    Yahoo,
)

DEFAULT_TICKER = "078935.KS"


def _plain_ticker(ticker: str) -> str:
    """Tickers name files and registered models, so only letters, digits and . - ^ = are taken."""
    allowed = ticker.replace("-", "").replace(".", "").replace("^", "").replace("=", "")
    if (
        not (allowed.isascii() and allowed.isalnum())
        or ".." in ticker
        or ticker.startswith((".", "-"))
    ):
        raise ValueError(
            f"not a ticker: {ticker!r}; letters, digits and . - ^ = are allowed, such as MSFT or 005930.KS"
        )
    return ticker


def _yahoo_unless_said(source: Any) -> Any:
    return {"kind": "yahoo"} | source if isinstance(source, dict) else source


def _utc_unless_said(now: datetime | None) -> datetime | None:
    return now.replace(tzinfo=UTC) if now is not None and now.tzinfo is None else now


Ticker = Annotated[str, Field(min_length=1, max_length=32), AfterValidator(_plain_ticker)]


class Command(Section):
    """What every flow can be told."""

    now: datetime | None = Field(
        None, description="Time to run as of, such as 2013-02-28T22:00:00Z; empty: the clock"
    )

    _source_is_yahoo_unless_said = field_validator("source", mode="before", check_fields=False)(
        _yahoo_unless_said
    )
    _now_is_utc_unless_said = field_validator("now")(_utc_unless_said)

    @property
    def time(self) -> datetime:
        """`now`, or what the clock says."""
        return self.now or datetime.now(UTC)


class Daily(Command):
    """What every flow of the daily work can be told."""

    scheduled: bool = Field(
        False,
        description="As the schedule runs it: no work on a day without a session, nor twice for one session",
    )


class Recipe(Daily):
    """What a network is trained on, how, and what it takes to become champion."""

    source: Source = Field(
        default_factory=Yahoo, discriminator="kind", description="Where prices come from"
    )
    problem: Problem = Field(default_factory=Problem, description="Inputs and label")
    model: Model = Field(default_factory=Model, description="Network")
    training: Training = Field(default_factory=Training, description="How the network is fitted")
    evaluation: Evaluation = Field(
        default_factory=Evaluation, description="Walk-forward folds and the backtest"
    )
    promotion: Promotion = Field(
        default_factory=Promotion, description="When it takes the champion's place"
    )

    @model_validator(mode="after")
    def _fits_next_day_direction(self) -> Self:
        if self.model.readout == "steps":
            raise ValueError(
                "model.readout: the next day's direction is read from the last state; received steps"
            )
        if self.training.class_weights is not None and len(self.training.class_weights) != 2:
            raise ValueError(
                f"training.class_weights: down and up are two; received {self.training.class_weights}"
            )
        return self


class Retrain(Recipe):
    """Retrain the network of one ticker, evaluate it walk-forward and decide whether it becomes champion."""

    ticker: Ticker = Field(DEFAULT_TICKER, description="Ticker as Yahoo spells it")


class RetrainUniverse(Recipe):
    """Retrain the networks of many tickers: those that are named, those of a file, else every stored one."""

    tickers: tuple[Ticker, ...] = Field((), description="Tickers; empty: those of the file")
    file: Path | None = Field(
        None, description="Text file with a ticker a line; empty: every ticker with stored prices"
    )
    runner: Runner = Field(default_factory=Runner, description="What works side by side")
    chunk: int = Field(100, ge=1, description="Tickers whose prices are in memory at once")
    again: bool = Field(
        False, description="Retrain also what was retrained on the last session already"
    )

    @model_validator(mode="after")
    def _names_each_ticker_once(self) -> "RetrainUniverse":
        if self.tickers and self.file:
            raise ValueError("tickers and file both say which tickers; give one")
        twice = sorted({ticker for ticker in self.tickers if self.tickers.count(ticker) > 1})
        if twice:
            raise ValueError(f"tickers name {', '.join(twice)} more than once")
        return self


class Forecast(Daily):
    """Say what the champion expects of the next session, and write it to the ledger before that session opens."""

    ticker: Ticker | None = Field(
        None, description="Ticker as Yahoo spells it; empty: every one with a champion"
    )
    source: Source | None = Field(
        None,
        discriminator="kind",
        description="Where prices come from; empty: as the champion was trained",
    )
    session: date | None = Field(
        None, description="Session that is expected to be the next; empty: by the calendar"
    )


class Score(Daily):
    """Settle the forecasts that have come true, and hold the live record against what was promised."""

    ticker: Ticker | None = Field(
        None, description="Ticker as Yahoo spells it; empty: every one with forecasts"
    )
    source: Source | None = Field(
        None,
        discriminator="kind",
        description="Where prices come from; empty: as the champion was trained",
    )
    recent: int = Field(
        60, ge=20, le=1000, description="Sessions whose inputs are held against those of training"
    )
    drift_level: float = Field(
        1e-4, gt=0, lt=1, description="Adjusted p-value below which inputs have drifted"
    )
    tolerated: int = Field(
        1, ge=0, description="Closed sessions without a price that are no alarm yet"
    )


class Rollback(Command):
    """Return to the champion before the present one."""

    ticker: Ticker = Field(description="Ticker as Yahoo spells it")


class Prune(Command):
    """Delete files of old runs; parameters, metrics and tags stay, and so does every model that is still of use."""

    days: int = Field(90, ge=0, description="Keep the files of runs that are younger than this")
    keep: int = Field(
        10,
        ge=0,
        description="Keep those of this many latest runs of each flow and ticker, however old",
    )


StudyName = Literal[
    "direction-from-scratch",
    "sine-next-value",
    "sine-synced",
    "sine-delayed",
    "sine-bidirectional",
    "classify-variable-length",
    "stacked-from-scratch",
    "memory-cell",
    "vanishing-gradient",
    "engines-agree",
]


class Study(Command):
    """One classic study of recurrent networks, run through the tasks of the daily job."""

    name: StudyName = Field("direction-from-scratch", description="Study to run")
    language: Literal["en", "ko"] = Field(
        "en", description="Language of figures and findings: English or Korean"
    )
    size: float = Field(
        1.0, gt=0, le=1, description="Share of the examples; below 1 for a quick look"
    )
    ticker: Ticker | None = Field(
        None, description="Ticker as Yahoo spells it, for direction-from-scratch alone"
    )
    source: Source | None = Field(
        None,
        discriminator="kind",
        description="Where the prices of direction-from-scratch come from",
    )
    training: StudyTraining = Field(
        default_factory=StudyTraining, description="What to change of the training"
    )

    @model_validator(mode="after")
    def _fits_the_study(self) -> "Study":
        if (self.ticker or self.source) and self.name != "direction-from-scratch":
            raise ValueError(
                f"ticker and source are for direction-from-scratch; {self.name} makes its own data"
            )
        if self.training.engine and self.name == "engines-agree":
            raise ValueError(
                f"engines-agree runs both engines; received training.engine {self.training.engine}"
            )
        return self


def flatten(section: BaseModel) -> dict[str, Any]:
    """Leaves of the tree by dotted name, as JSON values: `{"training.epochs": 40, …}`."""

    def leaves(prefix: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            return {prefix: value}
        named = {f"{prefix}.{key}" if prefix else key: inner for key, inner in value.items()}
        return {
            name: leaf for key, inner in named.items() for name, leaf in leaves(key, inner).items()
        }

    return leaves("", section.model_dump(mode="json"))


def config_hash(config: Retrain) -> str:
    """Names what was tried in twelve hex digits: not the data, the seed, what computes it or what trading costs."""
    tried = config.model_dump(mode="json", include={"problem", "model", "training", "evaluation"})
    indifferent = {
        "training": ("seed", "engine", "device", "dtype"),
        "evaluation": ("cost", "trade"),
    }
    for section, names in indifferent.items():
        for name in names:
            del tried[section][name]
    return hashlib.sha256(json.dumps(tried, sort_keys=True).encode()).hexdigest()[:12]
