"""The options of each flow, as one frozen tree.

The same classes are the command line, the run form of a deployment, the validated parameters of a
flow run and, flattened, the recorded parameters of a tracked run.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from rnn_core.config import (
    Evaluation,
    LocalFile,
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
TICKER = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9^=][A-Za-z0-9^=.-]*")
LONGEST_TICKER = 32  # characters


def is_ticker(text: str) -> bool:
    """Return True for what can name a file and a registered model.

    >>> is_ticker("005930.KS"), is_ticker("A/B")
    (True, False)
    """
    fits = len(text) <= LONGEST_TICKER and ".." not in text
    return fits and TICKER.fullmatch(text) is not None


def _plain_ticker(ticker: str) -> str:
    if not is_ticker(ticker):
        raise ValueError(
            f"not a ticker: {ticker!r}; letters, digits and . - ^ = are allowed, "
            "such as MSFT or 005930.KS"
        )
    return ticker


def _yahoo_by_default(source: Any) -> Any:
    return {"kind": "yahoo"} | source if isinstance(source, dict) else source


def _utc_by_default(now: datetime | None) -> datetime | None:
    if now is None or now.tzinfo is not None:
        return now
    return now.replace(tzinfo=UTC)


Ticker = Annotated[
    str, Field(min_length=1, max_length=LONGEST_TICKER), AfterValidator(_plain_ticker)
]


class Command(Section):
    """Options of every flow."""

    now: datetime | None = Field(
        None, description="Time to run as of, such as 2013-02-28T22:00:00Z; empty: the clock"
    )

    _source_is_yahoo_by_default = field_validator("source", mode="before", check_fields=False)(
        _yahoo_by_default
    )
    _now_is_utc_by_default = field_validator("now")(_utc_by_default)

    @property
    def time(self) -> datetime:
        """`now`, or the time of the clock if it is empty."""
        return self.now or datetime.now(UTC)


class Daily(Command):
    """Options of every flow of the daily schedule."""

    scheduled: bool = Field(
        False,
        description=(
            "Run as on the schedule: skip days without a session and sessions already done"
        ),
    )


class Recipe(Daily):
    """What a network is trained on, how it is trained, and when it becomes champion."""

    source: Source = Field(
        default_factory=Yahoo, discriminator="kind", description="Where prices come from"
    )
    problem: Problem = Field(default_factory=Problem, description="Inputs and label")
    model: Model = Field(default_factory=Model, description="Network")
    training: Training = Field(default_factory=Training, description="How the network is fitted")
    evaluation: Evaluation = Field(
        default_factory=Evaluation, description="Walk-forward folds and the backtest"
    )
    promotion: Promotion = Field(default_factory=Promotion, description="When it becomes champion")
    again: bool = Field(
        False, description="Retrain even what was already retrained for the last session"
    )

    @model_validator(mode="after")
    def _fits_next_day_direction(self) -> Self:
        if self.model.readout == "steps":
            raise ValueError(
                "model.readout must be last: the next day's direction is read from the last state "
                "(got steps)"
            )
        weights = self.training.class_weights
        if weights is not None and len(weights) != 2:
            raise ValueError(
                f"training.class_weights must be 2 numbers, for down and up (got {weights})"
            )
        return self


class Retrain(Recipe):
    """Retrain the network of a ticker, evaluate it walk-forward, decide if it becomes champion."""

    ticker: Ticker = Field(DEFAULT_TICKER, description="Ticker as Yahoo spells it")


class Audit(Retrain):
    """Ask how often the verdict finds skill in surrogates of a ticker's prices.

    Some are without a direction to find, others have one planted. Nothing is registered, and
    nothing counts as a look at the real days.
    """

    series: int = Field(
        100, ge=10, description="Surrogates without a direction, and with each planted one"
    )
    edges: tuple[Annotated[float, Field(gt=0.5, lt=1)], ...] = Field(
        (0.52, 0.54, 0.55, 0.56, 0.58, 0.60),
        description="Planted directions: probabilities that a day moves as the day before did",
    )

    @field_validator("edges")
    @classmethod
    def _edges_are_different_per_cents(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        per_cents = {round(edge, 2) for edge in edges}
        if per_cents != set(edges) or len(per_cents) != len(edges):
            listed = ",".join(map(str, edges))
            raise ValueError(f"edges must be whole per cents and differ (got {listed})")
        return edges


class RetrainUniverse(Recipe):
    """Retrain the networks of many tickers: those named, those in a file, else every stored one."""

    tickers: tuple[Ticker, ...] = Field((), description="Tickers; empty: those in the file")
    file: LocalFile | None = Field(
        None, description="Text file with one ticker a line; empty: every ticker with stored prices"
    )
    runner: Runner = Field(
        default_factory=Runner, description="How the tickers are computed in parallel"
    )
    chunk: int = Field(100, ge=1, description="Tickers whose prices are held in memory at once")

    @model_validator(mode="after")
    def _names_each_ticker_once(self) -> Self:
        if self.tickers and self.file:
            raise ValueError(
                "tickers and file both name tickers; only one is allowed "
                f"(got {', '.join(self.tickers)} and {self.file})"
            )
        twice = sorted({ticker for ticker in self.tickers if self.tickers.count(ticker) > 1})
        if twice:
            raise ValueError(f"tickers name {', '.join(twice)} more than once")
        return self


class Forecast(Daily):
    """Forecast the next session with the champion, and record it in the ledger before the open."""

    ticker: Ticker | None = Field(
        None, description="Ticker as Yahoo spells it; empty: every ticker with a champion"
    )
    source: Source | None = Field(
        None,
        discriminator="kind",
        description="Where prices come from; empty: where the champion's came from",
    )
    session: date | None = Field(None, description="Next session; empty: by the exchange calendar")
    grace: float = Field(
        10.0,
        ge=0,
        le=60,
        description=(
            "Minutes after the open in which a forecast counts as live where each session opens "
            "as the last one closes"
        ),
    )


class Score(Daily):
    """Settle forecasts whose session has closed, and compare the live record with the promise."""

    ticker: Ticker | None = Field(
        None, description="Ticker as Yahoo spells it; empty: every ticker with forecasts"
    )
    source: Source | None = Field(
        None,
        discriminator="kind",
        description="Where prices come from; empty: where the champion's came from",
    )
    recent: int = Field(
        60,
        ge=20,
        le=1000,
        description="Latest sessions whose inputs are compared with those of training",
    )
    drift_level: float = Field(
        1e-4, gt=0, lt=1, description="Adjusted p-value below which inputs count as drifted"
    )
    tolerated: int = Field(
        1, ge=0, description="Closed sessions that may lack a price without an alarm"
    )


class Rollback(Command):
    """Make the previous champion champion again."""

    ticker: Ticker = Field(description="Ticker as Yahoo spells it")
    to: int | None = Field(
        None,
        ge=1,
        lt=2**31,
        description="Version of the registered model; empty: the champion before the present one",
    )


class Reproduce(Command):
    """Repeat a retrain on the prices it saw, and compare every bit with what it recorded."""

    run: str = Field(min_length=1, description="Id of the MLflow run of one ticker")


class Prune(Command):
    """Delete files of old runs; keep parameters, metrics, tags and every model still in use."""

    days: int = Field(90, ge=0, description="Keep the files of runs younger than this many days")
    keep: int = Field(
        10,
        ge=0,
        description="Keep the files of this many latest runs of each flow and ticker, however old",
    )


class Compare(Command):
    """Compare two runs of retrain on the test days that both have forecast: which is better."""

    runs: tuple[str, ...] = Field(
        description="Two runs, each by its id, as TICKER@champion or as TICKER/VERSION"
    )

    @model_validator(mode="after")
    def _names_two_runs(self) -> Self:
        if len(self.runs) != 2 or len(set(self.runs)) != 2:
            listed = ", ".join(self.runs) or "none"
            raise ValueError(f"runs must name two different runs (got {listed})")
        return self


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
    """A classic study of recurrent networks, run by the same tasks as the daily retraining."""

    name: StudyName = Field("direction-from-scratch", description="Study to run")
    language: Literal["en", "ko"] = Field(
        "en", description="Language of figures and findings: English or Korean"
    )
    size: float = Field(
        1.0, gt=0, le=1, description="Share of the examples to use; below 1 for a quick look"
    )
    ticker: Ticker | None = Field(
        None, description="Ticker as Yahoo spells it; for direction-from-scratch only"
    )
    source: Source | None = Field(
        None,
        discriminator="kind",
        description="Where prices come from; for direction-from-scratch only",
    )
    training: StudyTraining = Field(
        default_factory=StudyTraining, description="Changes to the training"
    )

    @model_validator(mode="after")
    def _fits_the_study(self) -> Self:
        if (self.ticker or self.source) and self.name != "direction-from-scratch":
            raise ValueError(
                "ticker and source are only allowed for name=direction-from-scratch: "
                f"the other studies make their own data (got name={self.name})"
            )
        if self.training.engine and self.name == "engines-agree":
            raise ValueError(
                "training.engine is not allowed for name=engines-agree, which runs both engines "
                f"(got training.engine={self.training.engine})"
            )
        return self


class Stack(Section):
    """Start Prefect's server, a worker, the deployments and MLflow's UI, and keep them going.

    Ctrl-C stops everything. Ports are those of PREFECT_SERVER_API_PORT (4200) and MLFLOW_PORT
    (5000). With MLFLOW_TRACKING_URI set to a server, that one is used.
    """

    auth: bool = Field(
        False,
        description=(
            "Ask for a password, that of RNNFLOW_AUTH=user:password, or one kept in data/auth"
        ),
    )
