"""Everything a user can say, as one frozen tree.

The same classes are the command line, the run form of a deployment, the validated parameters of a flow run and,
flattened, the recorded parameters of a tracked run.
"""

import hashlib
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, field_validator, model_validator
from pydantic.dataclasses import dataclass

from rnn_core.nn import settings

Feature = Literal["return", "abs_return", "direction", "volume_change", "volatility"]
DEFAULT_TICKER = "078935.KS"
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, defer_build=True)


class Section(BaseModel):
    """A frozen part of the tree that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, **STRICT)


Exchange = Annotated[
    str | None,
    Field(description="Exchange calendar by its MIC, such as XNYS or XKRX; follows from the ticker's suffix if empty"),
]


class Yahoo(Section):
    """Daily prices from Yahoo Finance, kept in the local price store."""

    kind: Literal["yahoo"] = "yahoo"
    start: date = Field(date(2015, 1, 1), description="First day to fetch")
    fallback: Literal["synthetic", "none"] = Field(
        "synthetic",
        description="When Yahoo cannot be had: stored prices, else synthetic ones, clearly tagged; or none: fail",
    )
    timeout: float = Field(20.0, gt=0, le=300, description="Seconds to wait for one answer")
    exchange: Exchange = None


class File(Section):
    """Daily prices from a CSV or Parquet file."""

    kind: Literal["file"] = "file"
    path: Path = Field(description="CSV or Parquet file with a date and a price column")
    date_column: str | None = Field(None, description="Column of dates; found by its usual names if empty")
    price_column: str | None = Field(None, description="Column of prices; an adjusted close is preferred if empty")
    exchange: Exchange = None


class Synthetic(Section):
    """A random walk with volatility clustering and, unless `edge` plants one, no predictable direction."""

    kind: Literal["synthetic"] = "synthetic"
    days: int = Field(2520, ge=2, le=6000, description="Sessions to generate, ending at the last one closed")
    edge: float = Field(
        0.0, ge=-0.5, le=0.5, description="Tomorrow moves as today with probability 0.5 + edge; 0 plants nothing"
    )
    seed: int = Field(0, ge=0, description="Seed of the generator; the ticker is mixed in")
    exchange: Exchange = None


Source = Annotated[Yahoo | File | Synthetic, Field(discriminator="kind")]


class Problem(Section):
    """Windows of features and the label to predict from them."""

    seq_len: int = Field(10, ge=1, le=1000, description="Sessions in one window")
    features: tuple[Feature, ...] = Field(
        ("return", "direction"), min_length=1, description="Inputs of one session, by name"
    )
    volatility_window: int = Field(20, ge=2, le=1000, description="Sessions in the rolling volatility feature")

    @model_validator(mode="after")
    def _features_are_distinct(self) -> "Problem":
        if len(set(self.features)) != len(self.features):
            raise ValueError(f"features repeat: {', '.join(self.features)}")
        return self


@dataclass(frozen=True, config=STRICT)
class Model(settings.Model):
    """The recurrent network."""

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        if self.dropout and self.num_layers == 1:
            raise ValueError("dropout acts between layers; set num_layers to 2 or more, or dropout to 0")
        if self.init == "identity" and self.cell != "rnn_relu":
            raise ValueError(f"init identity is for the cell rnn_relu; received {self.cell}")
        if self.forget_bias and (self.cell != "lstm" or not self.bias):
            raise ValueError("forget_bias is for an lstm with biases")
        return self


@dataclass(frozen=True, config=STRICT)
class Training(settings.Training):
    """How the network is fitted."""

    class_weights: tuple[PositiveFloat, ...] | None = Field(
        default=None, description="How much an example counts in the loss, by its class; for direction: down, up"
    )

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        if self.device == "cuda" and self.engine != "torch":
            raise ValueError(f"device cuda is for the torch engine; received {self.engine}")
        if self.momentum and self.optimiser != "sgd":
            raise ValueError(f"momentum is for the optimiser sgd; received {self.optimiser}")
        return self


class Evaluation(Section):
    """Walk-forward folds and the backtest."""

    window: Literal["rolling", "expanding"] = Field("rolling", description="Whether old training days drop out")
    train_days: int = Field(500, ge=2, description="Training rows of the first fold (of each, when rolling)")
    valid_days: int = Field(100, ge=1, description="Rows that stop the training early")
    embargo_days: int = Field(0, ge=0, description="Rows left out before each test block, beyond the purge")
    cost: float = Field(5.0, ge=0, lt=10_000, description="Cost of trading, in basis points of what is traded")
    trade: Literal["next_close", "next_open"] = Field("next_close", description="When the backtest trades on a call")
    test_days: int = Field(63, ge=1, description="Rows predicted by one fold before the next is trained: the step")


class Promotion(Section):
    """When a retrained model takes the champion's place."""

    require_skill: bool = Field(False, description="Only a model whose verdict is skill becomes champion")
    allow_synthetic: bool = Field(
        False, description="A model of synthetic prices may become champion, to try things out"
    )


def _plain_ticker(ticker: str) -> str:
    """Tickers name files and registered models, so only letters, digits and . - ^ = are taken."""
    allowed = ticker.replace("-", "").replace(".", "").replace("^", "").replace("=", "")
    if not (allowed.isascii() and allowed.isalnum()) or ".." in ticker or ticker.startswith((".", "-")):
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

    now: datetime | None = Field(None, description="Time to run as of, such as 2013-02-28T22:00:00Z; empty: the clock")

    _source_is_yahoo_unless_said = field_validator("source", mode="before", check_fields=False)(_yahoo_unless_said)
    _now_is_utc_unless_said = field_validator("now")(_utc_unless_said)

    @property
    def time(self) -> datetime:
        """`now`, or what the clock says."""
        return self.now or datetime.now(UTC)


class Daily(Command):
    """What every flow of the daily work can be told."""

    scheduled: bool = Field(
        False, description="As the schedule runs it: no work on a day without a session, nor twice for one session"
    )


class Recipe(Daily):
    """What a network is trained on, how, and what it takes to become champion."""

    source: Source = Field(default_factory=Yahoo, description="Where prices come from")
    problem: Problem = Field(default_factory=Problem, description="Inputs and label")
    model: Model = Field(default_factory=Model, description="Network")
    training: Training = Field(default_factory=Training, description="How the network is fitted")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="Walk-forward folds and the backtest")
    promotion: Promotion = Field(default_factory=Promotion, description="When it takes the champion's place")

    @model_validator(mode="after")
    def _fits_next_day_direction(self) -> Self:
        if self.model.readout == "steps":
            raise ValueError("model.readout: the next day's direction is read from the last state; received steps")
        if self.training.class_weights is not None and len(self.training.class_weights) != 2:
            raise ValueError(f"training.class_weights: down and up are two; received {self.training.class_weights}")
        return self


class Retrain(Recipe):
    """Retrain the network of one ticker, evaluate it walk-forward and decide whether it becomes champion."""

    ticker: Ticker = Field(DEFAULT_TICKER, description="Ticker as Yahoo spells it")


class Runner(Section):
    """What computes the tickers of a universe side by side."""

    kind: Literal["threads", "processes", "dask"] = Field("threads", description="What works side by side")
    workers: int | None = Field(None, ge=1, le=1024, description="Threads or processes; empty: one a core")
    address: str | None = Field(None, description="Dask scheduler, such as tcp://127.0.0.1:8786")

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> "Runner":
        if (self.kind == "dask") != (self.address is not None):
            raise ValueError(f"address is for the kind dask, which needs one; received {self.kind}, {self.address}")
        if self.kind == "dask" and self.workers is not None:
            raise ValueError(f"workers are the Dask cluster's own; received {self.workers}")
        return self


class RetrainUniverse(Recipe):
    """Retrain the networks of many tickers: those that are named, those of a file, else every stored one."""

    tickers: tuple[Ticker, ...] = Field((), description="Tickers; empty: those of the file")
    file: Path | None = Field(
        None, description="Text file with a ticker a line; empty: every ticker with stored prices"
    )
    runner: Runner = Field(default_factory=Runner, description="What works side by side")
    chunk: int = Field(100, ge=1, description="Tickers whose prices are in memory at once")
    again: bool = Field(False, description="Retrain also what was retrained on the last session already")

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

    ticker: Ticker | None = Field(None, description="Ticker as Yahoo spells it; empty: every one with a champion")
    source: Source | None = Field(None, description="Where prices come from; empty: as the champion was trained")
    session: date | None = Field(None, description="Session that is expected to be the next; empty: by the calendar")


class Score(Daily):
    """Settle the forecasts that have come true, and hold the live record against what was promised."""

    ticker: Ticker | None = Field(None, description="Ticker as Yahoo spells it; empty: every one with forecasts")
    source: Source | None = Field(None, description="Where prices come from; empty: as the champion was trained")
    recent: int = Field(60, ge=20, le=1000, description="Sessions whose inputs are held against those of training")
    drift_level: float = Field(1e-4, gt=0, lt=1, description="Adjusted p-value below which inputs have drifted")
    tolerated: int = Field(1, ge=0, description="Closed sessions without a price that are no alarm yet")


class Rollback(Command):
    """Return to the champion before the present one."""

    ticker: Ticker = Field(description="Ticker as Yahoo spells it")


class Prune(Command):
    """Delete files of old runs; parameters, metrics and tags stay, and so does every model that is still of use."""

    days: int = Field(90, ge=0, description="Keep the files of runs that are younger than this")
    keep: int = Field(10, ge=0, description="Keep those of this many latest runs of each flow and ticker, however old")


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


class StudyTraining(Section):
    """What may be changed of how a study trains."""

    engine: Literal["numpy", "torch"] | None = Field(None, description="What computes; empty: NumPy, by hand")
    epochs: int | None = Field(None, ge=1, le=100_000, description="Passes over the training rows; empty: the lesson's")
    seed: int = Field(0, ge=0, description="Root of every random stream that the lesson does not fix")


class Study(Command):
    """One classic lesson on recurrent networks, run through the tasks of the daily job."""

    name: StudyName = Field("direction-from-scratch", description="Lesson to run")
    language: Literal["en", "ko"] = Field("en", description="Language of figures and findings: English or Korean")
    size: float = Field(1.0, gt=0, le=1, description="Share of the examples; below 1 for a quick look")
    ticker: Ticker | None = Field(None, description="Ticker as Yahoo spells it, for direction-from-scratch alone")
    source: Source | None = Field(None, description="Where the prices of direction-from-scratch come from")
    training: StudyTraining = Field(default_factory=StudyTraining, description="What to change of the training")

    @model_validator(mode="after")
    def _fits_the_lesson(self) -> "Study":
        if (self.ticker or self.source) and self.name != "direction-from-scratch":
            raise ValueError(f"ticker and source are for direction-from-scratch; {self.name} makes its own data")
        if self.training.engine and self.name == "engines-agree":
            raise ValueError(f"engines-agree runs both engines; received training.engine {self.training.engine}")
        return self


def flatten(section: BaseModel) -> dict[str, Any]:
    """Leaves of the tree by dotted name, as JSON values: `{"training.epochs": 40, …}`."""

    def leaves(prefix: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            return {prefix: value}
        named = {f"{prefix}.{key}" if prefix else key: inner for key, inner in value.items()}
        return {name: leaf for key, inner in named.items() for name, leaf in leaves(key, inner).items()}

    return leaves("", section.model_dump(mode="json"))


def config_hash(config: Retrain) -> str:
    """Names what was tried in twelve hex digits: not the data, the seed, what computes it or what trading costs."""
    tried = config.model_dump(mode="json", include={"problem", "model", "training", "evaluation"})
    indifferent = {"training": ("seed", "engine", "device", "dtype"), "evaluation": ("cost", "trade")}
    for section, names in indifferent.items():
        for name in names:
            del tried[section][name]
    return hashlib.sha256(json.dumps(tried, sort_keys=True).encode()).hexdigest()[:12]
