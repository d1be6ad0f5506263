"""Which commands are the same: their settings flattened, compared and hashed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from rnn_core.commands import Retrain, Study

NO_SETTINGS = ("now", "again", "scheduled")
"""Options that say when a run was made, and nothing about its network."""

DEFINES_A_TRIAL: dict[str, tuple[str, ...]] = {
    "problem": (),
    "model": (),
    "training": ("seed", "engine", "device", "dtype"),
    "evaluation": ("cost", "trade"),
}
"""The sections that define a trial, each with the fields that do not."""

ANSWERS_NOTHING: dict[str, Any] = {
    "now": True,
    "scheduled": True,
    "again": True,
    "promotion": True,
    "language": True,
    "evaluation": {"cost", "trade"},
    "source": {"timeout", "fallback"},
}
"""The options of a retrain or a study that cannot change what it finds in given prices."""


def flatten(section: BaseModel) -> dict[str, Any]:
    """Return the leaves of the tree by dotted name, as JSON values.

    >>> flatten(Retrain())["training.epochs"]
    40
    """
    return _leaves("", section.model_dump(mode="json"))


def _leaves(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    leaves: dict[str, Any] = {}
    for key, inner in value.items():
        leaves |= _leaves(f"{name}.{key}" if name else key, inner)
    return leaves


def differing(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the settings in which two runs differ, by dotted name: that of a and that of b.

    `a` and `b` are the flattened settings as texts. One that only one of them has is empty in the
    other, and those of `NO_SETTINGS` are left out.

    >>> differing({"model.cell": "lstm", "now": "1"}, {"model.cell": "gru", "model.bias": "True"})
    {'model.bias': ('', 'True'), 'model.cell': ('lstm', 'gru')}
    """
    names = sorted(set(a).union(b).difference(NO_SETTINGS))
    pairs = {name: (a.get(name, ""), b.get(name, "")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def config_hash(config: Retrain) -> str:
    """Return a 12-digit hash of the settings that define a trial.

    Left out are the ticker, the source, the seed, what computes it and what trading costs.

    >>> config_hash(Retrain())
    '675d61bd836d'
    """
    settings = config.model_dump(mode="json", include=set(DEFINES_A_TRIAL))
    for section, indifferent in DEFINES_A_TRIAL.items():
        for name in indifferent:
            del settings[section][name]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def settings_hash(config: Retrain) -> str:
    """Return a 12-digit hash of every option, except those that say when the run is made."""
    settings = config.model_dump(mode="json", exclude=set(NO_SETTINGS))
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def question_hash(config: Retrain | Study) -> str:
    """Return the SHA-256, in hex, of all that can change what is found in given prices.

    Unlike `config_hash` it depends on the ticker, the source, the seed and the engine too: each of
    them can be chosen by its result. Options at their defaults are left out, so that a release
    which adds one asks no new question.
    """
    settings = config.model_dump(mode="json", exclude=ANSWERS_NOTHING, exclude_defaults=True)
    settings["asked by"] = type(config).__name__
    settings["kind"] = config.source.kind if config.source else None
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
