"""Test the calls of the test days: their direction, and their losses against the baselines."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pandas as pd

from rnn_core.evaluation import direction_tests, names, significance
from rnn_core.evaluation.baselines import LEARNED, Baselines, ByName
from rnn_core.evaluation.metrics import CALLS_UP, called_up, log_losses
from rnn_core.evaluation.significance import FEW_DAYS, Test
from rnn_core.evaluation.spending import Look
from rnn_core.evaluation.verdict import Showing
from rnn_core.nn.arrays import Array

MANY_ZEROS = 0.05  # share of returns that are 0 from which ½ is no fair threshold of a call
STRATUM = 63  # test days, a quarter: shorter folds share a base rate

Tests: TypeAlias = dict[str, significance.Test | significance.Bootstrap | None]
"""Tests by metric name, None where undefined."""


@dataclass(frozen=True)
class Scores:
    """Scores by metric name, and why others are undefined."""

    defined: dict[str, float]
    undefined: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Calls:
    """The forecasts to test: those of the network and of each baseline on n test days.

    A return of 0 counts as down. If more than `MANY_ZEROS` of the returns are 0, few probabilities
    are above ½, so to make a call of it a probability is compared with the base rate of its fold.
    That is for the tests of calls alone: scores and accounts keep ½.

    Attributes:
        up: (n,) the outcome, 0 or 1.
        next_return: (n,) log return.
        probability: (n,) the served probability of up.
        called: (n,) the network's calls, 0 or 1.
        baselines: {name: (n,)} those of the baselines.
        stratum: (n,) the folds, those shorter than a quarter taken together.
    """

    up: Array
    next_return: Array
    probability: Array
    called: Array
    baselines: ByName
    stratum: Array


def calls_to_test(calls: pd.DataFrame, baselines: Baselines) -> Calls:
    """Return the calls to test from the table of calls of an `Evaluation`."""
    next_return = calls["next_return"].to_numpy()
    probability = calls["probability"].to_numpy()
    many_zeros = (next_return == 0).mean() > MANY_ZEROS
    base_rate = baselines.probability["majority"]
    threshold = base_rate if many_zeros else np.full(len(calls), CALLS_UP)
    relative = {name: baselines.probability[name] > threshold for name in LEARNED}
    return Calls(
        up=calls["up"].to_numpy(),
        next_return=next_return,
        probability=probability,
        called=(probability > threshold).astype(int),
        baselines=baselines.called | {name: up.astype(int) for name, up in relative.items()},
        stratum=direction_tests.strata(calls["fold"].to_numpy(), STRATUM),
    )


def showing(tested: Calls) -> Showing:
    """Return how the network did with the served probability."""
    return _showing(tested, tested.probability, tested.called, called_up(tested.probability))


def baseline_showings(tested: Calls, baselines: Baselines) -> dict[str, Showing]:
    """Return how each baseline did, by name."""
    return {
        name: _showing(tested, baselines.probability[name], tested.baselines[name], called)
        for name, called in baselines.called.items()
    }


def _showing(tested: Calls, probability: Array, tested_calls: Array, called: Array) -> Showing:
    test = _given_the_base_rate(tested, probability, tested_calls)
    return Showing(
        pvalue=None if test is None else test.pvalue,
        hits=int((called == tested.up).sum()),
        log_loss=float(log_losses(tested.up, probability).mean()),
    )


def _given_the_base_rate(tested: Calls, probability: Array, called: Array) -> Test | None:
    """Return the test that decides: of the probabilities, below `FEW_DAYS` exactly of the calls."""
    few = len(tested.up) < FEW_DAYS
    forecast = called if few else probability
    return direction_tests.within_strata(tested.up, forecast, tested.stratum)


def significance_scores(tested: Calls, baselines: Baselines, look: Look) -> Scores:
    """Return the p-values of all tests, and the days that would show this accuracy."""
    exact = {
        names.PT_PVALUE: direction_tests.pesaran_timmermann(tested.up, tested.called),
        names.CONDITIONAL_PVALUE: _given_the_base_rate(tested, tested.probability, tested.called),
    }
    approximate = _approximate_tests(tested, baselines)
    too_few = len(tested.up) < FEW_DAYS
    tests = exact | dict.fromkeys(approximate) if too_few else exact | approximate
    pvalues = {name: test.pvalue for name, test in tests.items() if test is not None}
    constant = "what it compares does not vary: forecasts, outcomes or losses"
    undefined = {name: constant for name, test in tests.items() if test is None}
    if too_few:
        undefined |= dict.fromkeys(approximate, f"it is not exact below {FEW_DAYS} test days")
    if names.PT_PVALUE in pvalues:
        pvalues[names.PT_PVALUE_ADJUSTED] = look.adjusted(pvalues[names.PT_PVALUE])
    return _with_days(Scores(pvalues, undefined), tested.up, called_up(tested.probability))


def _with_days(scores: Scores, up: Array, called: Array) -> Scores:
    days = significance.days_needed(float((called == up).mean()))
    if days is not None:
        return Scores(scores.defined | {names.DAYS_FOR_THIS_ACCURACY: days}, scores.undefined)
    never = "the accuracy is a half or less"
    return Scores(scores.defined, scores.undefined | {names.DAYS_FOR_THIS_ACCURACY: never})


def _approximate_tests(tested: Calls, baselines: Baselines) -> Tests:
    """Return the tests whose p-values are right for many days only."""
    loss = log_losses(tested.up, tested.probability)
    others = {name: log_losses(tested.up, p) for name, p in baselines.probability.items()}
    base_rate = others["majority"]
    rivals = [loss, *(other for name, other in others.items() if name != "majority")]
    against = {
        name: significance.diebold_mariano(loss, other_loss) for name, other_loss in others.items()
    }
    excess = direction_tests.excess_hits(tested.up, tested.called)
    return {
        names.pvalue("ag"): direction_tests.anatolyev_gerko(tested.next_return, tested.called),
        names.pvalue("pt_bootstrap"): significance.bootstrap_mean(excess),
        names.pvalue("dm"): against["majority"],
        names.pvalue("dm_bootstrap"): significance.bootstrap_mean(base_rate - loss),
        names.pvalue("spa"): significance.superior(base_rate, np.column_stack(rivals)),
        **{names.dm_pvalue(name): test for name, test in against.items()},
    }
