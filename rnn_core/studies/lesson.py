"""What a lesson is: data, what is trained on them, and what is found."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from rnn_core.config import Model, Study, Training
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.ensemble import out_of_sample
from rnn_core.nn.sequences import Folds, Sequences
from rnn_core.nn.training import Fit
from rnn_core.reporting.figures import Figures, Say, english, korean


@dataclass(frozen=True)
class Variant:
    """One stack of networks that a lesson trains: what `rnn_core.nn.training.fit` takes."""

    model: Model
    training: Training
    sequences: Sequences
    folds: Folds
    params0: Params | None = None
    order: Array | None = None


@dataclass(frozen=True)
class Trained:
    """A variant, what came of it, and how many seconds that took."""

    variant: Variant
    fit: Fit
    seconds: float

    @property
    def logits(self) -> Array:
        """(M, s, S, O) of the test rows, as `rnn_core.nn.ensemble.out_of_sample` gives them."""
        return out_of_sample(self.fit, self.variant.sequences, self.variant.folds)


@dataclass(frozen=True)
class Finding:
    """What a lesson found.

    Attributes:
        sentences: what it means, computed from the run, in the language that was asked for.
        metrics: by metric name, `test/mse` or `test/accuracy` among them.
        figures: by file name; the first one tells the lesson.
        files: texts by file name, such as tables.
    """

    sentences: tuple[str, ...]
    metrics: dict[str, float]
    figures: Figures
    files: dict[str, str] = field(default_factory=dict)


Variants: TypeAlias = dict[str, Variant]
"""What a lesson trains, by name; the first one is what the lesson is about."""


class Lesson(NamedTuple):
    """The steps of a lesson, one for each task of the flow but the training, which all lessons share."""

    data: Callable[[Study], Any]
    variants: Callable[[Study, Any], Variants]
    finding: Callable[[Study, Any, dict[str, Trained]], Finding]


def training(study: Study, **own: Any) -> Training:
    """How a lesson trains, with what the user asks for in its place; without early stopping, one network."""
    asked = {name: value for name, value in study.training.model_dump().items() if value is not None}
    return Training(**{"patience": None, "seeds": 1, "clip_norm": None} | own | asked)


def examples(study: Study, full: int) -> int:
    """How many of the lesson's `full` examples are used."""
    return max(round(study.size * full), 2)


def sayer(study: Study) -> Say:
    """Chooses the texts of the language that was asked for."""
    return korean if study.language == "ko" else english
