"""The sections of the configuration: frozen, checked, described.

`rnn_core.commands` composes them into what each flow can be told.
"""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator
from pydantic.dataclasses import dataclass

from rnn_core.data.features import FEATURES
from rnn_core.nn import settings

if TYPE_CHECKING:
    Feature: TypeAlias = str
else:
    Feature = Literal[tuple(FEATURES)]

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, defer_build=True)


class Section(BaseModel):
    """A frozen part of the tree that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, **STRICT)


Exchange = Annotated[
    str | None,
    Field(
        description="Exchange calendar by its MIC, such as XNYS or XKRX; follows from the ticker's suffix if empty"
    ),
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
    date_column: str | None = Field(
        None, description="Column of dates; found by its usual names if empty"
    )
    price_column: str | None = Field(
        None, description="Column of prices; an adjusted close is preferred if empty"
    )
    exchange: Exchange = None


class Synthetic(Section):
    """A random walk with volatility clustering and, unless `edge` plants one, no predictable direction."""

    kind: Literal["synthetic"] = "synthetic"
    days: int = Field(
        2520, ge=2, le=6000, description="Sessions to generate, ending at the last one closed"
    )
    edge: float = Field(
        0.0,
        ge=-0.5,
        le=0.5,
        description="Tomorrow moves as today with probability 0.5 + edge; 0 plants nothing",
    )
    seed: int = Field(0, ge=0, description="Seed of the generator; the ticker is mixed in")
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
            raise ValueError(
                "dropout acts between layers; set num_layers to 2 or more, or dropout to 0"
            )
        if self.init == "identity" and self.cell != "rnn_relu":
            raise ValueError(f"init identity is for the cell rnn_relu; received {self.cell}")
        if self.forget_bias and (self.cell != "lstm" or not self.bias):
            raise ValueError("forget_bias is for an lstm with biases")
        return self


@dataclass(frozen=True, config=STRICT)
class Training(settings.Training):
    """How the network is fitted."""

    class_weights: tuple[PositiveFloat, ...] | None = Field(
        default=None,
        description="How much an example counts in the loss, by its class; for direction: down, up",
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

    window: Literal["rolling", "expanding"] = Field(
        "rolling", description="Whether old training days drop out"
    )
    train_days: int = Field(
        500, ge=2, description="Training rows of the first fold (of each, when rolling)"
    )
    valid_days: int = Field(100, ge=1, description="Rows that stop the training early")
    embargo_days: int = Field(
        0, ge=0, description="Rows left out before each test block, beyond the purge"
    )
    cost: float = Field(
        5.0, ge=0, lt=10_000, description="Cost of trading, in basis points of what is traded"
    )
    trade: Literal["next_close", "next_open"] = Field(
        "next_close", description="When the backtest trades on a call"
    )
    test_days: int = Field(
        63, ge=1, description="Rows predicted by one fold before the next is trained: the step"
    )


class Promotion(Section):
    """When a retrained model takes the champion's place."""

    require_skill: bool = Field(
        False, description="Only a model whose verdict is skill becomes champion"
    )
    allow_synthetic: bool = Field(
        False, description="A model of synthetic prices may become champion, to try things out"
    )


class Runner(Section):
    """What computes the tickers of a universe side by side."""

    kind: Literal["threads", "processes", "dask"] = Field(
        "threads", description="What works side by side"
    )
    workers: int | None = Field(
        None, ge=1, le=1024, description="Threads or processes; empty: one a core"
    )
    address: str | None = Field(None, description="Dask scheduler, such as tcp://127.0.0.1:8786")

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> "Runner":
        if (self.kind == "dask") != (self.address is not None):
            raise ValueError(
                f"address is for the kind dask, which needs one; received {self.kind}, {self.address}"
            )
        if self.kind == "dask" and self.workers is not None:
            raise ValueError(f"workers are the Dask cluster's own; received {self.workers}")
        return self


class StudyTraining(Section):
    """What may be changed of how a study trains."""

    engine: Literal["numpy", "torch"] | None = Field(
        None, description="What computes; empty: NumPy, by hand"
    )
    epochs: int | None = Field(
        None, ge=1, le=100_000, description="Passes over the training rows; empty: the study's"
    )
    seed: int = Field(
        0, ge=0, description="Root of every random stream that the study does not fix"
    )
