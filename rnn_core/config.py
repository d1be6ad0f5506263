"""The sections of the configuration: frozen, checked, described.

`rnn_core.commands` composes them into the options of each flow.
"""

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    model_validator,
)
from pydantic.dataclasses import dataclass

from rnn_core.data.features import FEATURES
from rnn_core.nn import settings

if TYPE_CHECKING:
    Feature: TypeAlias = str
else:
    Feature = Literal[tuple(FEATURES)]

URL = re.compile(r"[A-Za-z][\w+.-]+:/")  # in a path, which makes one slash of two

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, defer_build=True)


class Section(BaseModel):
    """A frozen section of the configuration that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, **STRICT)


def _no_url(path: Path) -> Path:
    if URL.match(str(path)):
        raise ValueError("a file of this machine is expected; download what has a URL")
    return path


LocalFile = Annotated[Path, AfterValidator(_no_url)]

Exchange = Annotated[
    str | None,
    Field(
        description=(
            "Exchange calendar by its MIC, such as XNYS or XKRX; empty: by the ticker's suffix"
        )
    ),
]


class Yahoo(Section):
    """Daily prices from Yahoo Finance, kept in the local price store."""

    kind: Literal["yahoo"] = "yahoo"
    start: date = Field(date(2015, 1, 1), description="First day to fetch")
    fallback: Literal["synthetic", "none"] = Field(
        "synthetic",
        description=(
            "If Yahoo is unavailable: stored prices, else clearly tagged synthetic ones; none: fail"
        ),
    )
    timeout: float = Field(20.0, gt=0, le=300, description="Seconds to wait for one answer")
    exchange: Exchange = None


class File(Section):
    """Daily prices from a CSV or Parquet file."""

    kind: Literal["file"] = "file"
    path: LocalFile = Field(
        description="CSV or Parquet file with a date and a price column; {ticker} stands for the "
        "ticker"
    )
    date_column: str | None = Field(
        None, description="Column of dates; empty: the first with a usual name"
    )
    sessions: Literal["exchange", "data"] = Field(
        "exchange",
        description="Which days are sessions: the exchange's, or the file's own rows, whose model "
        "is never counted live",
    )
    price_column: str | None = Field(
        None, description="Column of prices; empty: an adjusted close if there is one"
    )
    exchange: Exchange = None


class Synthetic(Section):
    """A random walk with volatility clustering, unpredictable in direction unless `edge` is set."""

    kind: Literal["synthetic"] = "synthetic"
    days: int = Field(
        2520, ge=2, le=6000, description="Sessions to generate, up to the last closed one"
    )
    edge: float = Field(
        0.0,
        ge=-0.5,
        le=0.5,
        description="Tomorrow moves as today with probability 0.5 + edge; 0: unpredictable",
    )
    seed: int = Field(0, ge=0, description="Seed of the generator, combined with the ticker")
    exchange: Exchange = None


Source: TypeAlias = Yahoo | File | Synthetic


class Problem(Section):
    """Windows of features and the label to predict from them."""

    seq_len: int = Field(10, ge=1, le=1000, description="Sessions in one window")
    features: tuple[Feature, ...] = Field(
        ("return", "direction"), min_length=1, description="Inputs of one session, by name"
    )
    volatility_window: int = Field(
        20, ge=2, le=1000, description="Sessions in the rolling volatility feature"
    )

    @model_validator(mode="after")
    def _features_are_distinct(self) -> Self:
        if len(set(self.features)) != len(self.features):
            raise ValueError(f"problem.features must differ (got {', '.join(self.features)})")
        return self


@dataclass(frozen=True, config=STRICT)
class Model(settings.Model):
    """The recurrent network."""

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        if self.dropout and self.num_layers == 1:
            raise ValueError(
                "model.dropout acts between layers and requires model.num_layers of 2 or more "
                f"(got dropout={self.dropout}, num_layers=1)"
            )
        if self.init == "identity" and self.cell != "rnn_relu":
            raise ValueError(f"model.init=identity requires cell=rnn_relu (got cell={self.cell})")
        if self.forget_bias and (self.cell != "lstm" or not self.bias):
            raise ValueError(
                "model.forget_bias is only allowed for cell=lstm with bias=true "
                f"(got cell={self.cell}, bias={str(self.bias).lower()})"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class Training(settings.Training):
    """How the network is fitted."""

    class_weights: tuple[PositiveFloat, ...] | None = Field(
        default=None,
        description="Weight of an example in the loss by its class; for direction: down, up",
    )

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        if self.device == "cuda" and self.engine != "torch":
            raise ValueError(
                f"training.device=cuda requires engine=torch (got engine={self.engine})"
            )
        if self.momentum and self.optimiser != "sgd":
            raise ValueError(
                "training.momentum is only allowed for optimiser=sgd "
                f"(got momentum={self.momentum}, optimiser={self.optimiser})"
            )
        return self


class Evaluation(Section):
    """Walk-forward folds and the backtest."""

    window: Literal["rolling", "expanding"] = Field(
        "rolling", description="Train on the latest train_days, or on all days so far"
    )
    train_days: int = Field(
        500, ge=2, description="Training rows of the first fold; of every fold if window is rolling"
    )
    valid_days: int = Field(100, ge=1, description="Validation rows, for early stopping")
    embargo_days: int = Field(
        0, ge=0, description="Rows left out before each test block, besides the purged ones"
    )
    cost: float = Field(
        5.0, ge=0, lt=10_000, description="Cost of trading, in basis points of the value traded"
    )
    trade: Literal["next_close", "next_open"] = Field(
        "next_close", description="When the backtest trades on a forecast"
    )
    test_days: int = Field(
        63, ge=1, description="Test rows of one fold; the next fold starts after them"
    )


class Promotion(Section):
    """When a retrained model becomes champion."""

    require_skill: bool = Field(
        False, description="Only a model with the verdict skill may become champion"
    )
    allow_synthetic: bool = Field(
        False, description="A model trained on synthetic prices may become champion, for trials"
    )
    margin: float = Field(
        0.005,
        ge=0,
        le=1,
        description="Mean log loss, in nats, that another configuration may lose at most",
    )


class Runner(Section):
    """How the tickers of a universe are computed in parallel."""

    kind: Literal["threads", "processes", "dask"] = Field(
        "threads", description="What computes in parallel"
    )
    workers: int | None = Field(
        None, ge=1, le=1024, description="Number of threads or processes; empty: one per core"
    )
    address: str | None = Field(
        None, description="Dask scheduler, such as tcp://127.0.0.1:8786; for kind dask"
    )

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        if (self.kind == "dask") != (self.address is not None):
            raise ValueError(
                "runner.address is required for kind=dask and only allowed there "
                f"(got kind={self.kind})"
            )
        if self.address is not None and "@" in self.address:
            raise ValueError(
                "runner.address takes no user and no password, such as tcp://127.0.0.1:8786"
            )
        if self.kind == "dask" and self.workers is not None:
            raise ValueError(
                "runner.workers is not allowed for kind=dask, whose cluster has its own "
                f"(got workers={self.workers})"
            )
        return self


class StudyTraining(Section):
    """Changes to the training of a study."""

    engine: Literal["numpy", "torch"] | None = Field(
        None, description="What computes; empty: NumPy by hand"
    )
    epochs: int | None = Field(
        None, ge=1, le=100_000, description="Passes over the training rows; empty: the study's"
    )
    seed: int = Field(
        0, ge=0, description="Root of every random stream that the study does not fix"
    )
