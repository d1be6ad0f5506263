"""What makes a study: its data, the networks that it trains, and its finding."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from rnn_core.commands import Study
from rnn_core.config import Model, Training
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.ensemble import out_of_sample
from rnn_core.nn.sequences import Folds, Sequences
from rnn_core.nn.training import Fit
from rnn_core.reporting.figures import Figures, Say, english, korean


@dataclass(frozen=True)
class Variant:
    """One stack of networks that a study trains: the arguments of `rnn_core.nn.training.fit`."""

    model: Model
    training: Training
    sequences: Sequences
    folds: Folds
    params0: Params | None = None
    order: Array | None = None


@dataclass(frozen=True)
class Trained:
    """A trained variant, and how many seconds the training took."""

    variant: Variant
    fit: Fit
    seconds: float

    @property
    def logits(self) -> Array:
        """(M, s, S, O) logits of the test rows, from `rnn_core.nn.training.out_of_sample`."""
        return out_of_sample(self.fit, self.variant.sequences, self.variant.folds)


@dataclass(frozen=True)
class Finding:
    """What a study found.

    Attributes:
        sentences: the meaning, computed from the run, in the language of the study.
        metrics: by metric name, `test/mse` or `test/accuracy` among them.
        figures: by file name; the first one shows the main result.
        files: texts by file name, such as tables.
    """

    sentences: tuple[str, ...]
    metrics: dict[str, float]
    figures: Figures
    files: dict[str, str] = field(default_factory=dict)


Variants: TypeAlias = dict[str, Variant]
"""What a study trains, by name; the first one is its subject."""


class Steps(NamedTuple):
    """The steps of a study, each run by one task of the flow; the training is the same for all.

    Attributes:
        data: makes the data.
        variants: returns the networks to train on the data, and how.
        finding: draws the conclusions, from the data and the trained variants by name.
    """

    data: Callable[[Study], Any]
    variants: Callable[[Study, Any], Variants]
    finding: Callable[[Study, Any, dict[str, Trained]], Finding]


def training(study: Study, **defaults: Any) -> Training:
    """Return the training of a study: the user's settings, else the study's `defaults`.

    Without either there is one network and neither early stopping nor clipping.
    """
    asked = study.training.model_dump().items()
    set_by_user = {name: value for name, value in asked if value is not None}
    common = {"patience": None, "seeds": 1, "clip_norm": None}
    return Training(**common | defaults | set_by_user)


def examples(study: Study, full: int) -> int:
    """Return how many of the study's `full` examples are used, at least 2.

    >>> examples(Study(size=0.1), 1000)
    100
    """
    return max(round(study.size * full), 2)


def sayer(study: Study) -> Say:
    """Return the function that chooses the texts in the language of the study.

    >>> sayer(Study(language="ko"))("direction", "방향")
    '방향'
    """
    return korean if study.language == "ko" else english
