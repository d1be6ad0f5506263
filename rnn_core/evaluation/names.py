"""The names under which a run's figures are recorded: a section, a slash, a name.

MLflow charts each section together. Whoever writes or reads a figure takes its name from here.
"""


def score(name: str) -> str:
    """Return the name of a score of the network on the test days.

    >>> score("accuracy")
    'test/accuracy'
    """
    return f"test/{name}"


def baseline_accuracy(baseline: str) -> str:
    """Return the name of the accuracy of a baseline.

    >>> baseline_accuracy("majority")
    'baseline/majority_accuracy'
    """
    return f"baseline/{baseline}_accuracy"


def baseline_log_loss(baseline: str) -> str:
    """Return the name of the log loss of a baseline.

    >>> baseline_log_loss("majority")
    'baseline/majority_log_loss'
    """
    return f"baseline/{baseline}_log_loss"


def significance(name: str) -> str:
    """Return the name of an input of the verdict.

    >>> significance("trials")
    'significance/trials'
    """
    return f"significance/{name}"


def pvalue(test: str) -> str:
    """Return the name of the p-value of a test.

    >>> pvalue("pt")
    'significance/pt_pvalue'
    """
    return significance(f"{test}_pvalue")


def dm_pvalue(baseline: str) -> str:
    """Return the name of the Diebold–Mariano p-value of the network against a baseline.

    >>> dm_pvalue("majority")
    'significance/dm_majority_pvalue'
    """
    return pvalue(f"dm_{baseline}")


def backtest(name: str, style: str = "long_flat") -> str:
    """Return the name of a statistic of the backtest; that of long or flat has no prefix.

    >>> backtest("turnover"), backtest("turnover", "long_short")
    ('backtest/turnover', 'backtest/long_short_turnover')
    """
    return f"backtest/{name}" if style == "long_flat" else f"backtest/{style}_{name}"


def hold(name: str) -> str:
    """Return the name of a statistic of buy and hold over the days of the backtest.

    >>> hold("turnover")
    'backtest/hold_turnover'
    """
    return backtest(f"hold_{name}")


def audit(name: str) -> str:
    """Return the name of a figure of an audit.

    >>> audit("test_days")
    'audit/test_days'
    """
    return f"audit/{name}"


def power(edge: float) -> str:
    """Return the name of the share of series in which a planted direction is found.

    >>> power(0.6)
    'audit/power_0.60'
    """
    return audit(f"power_{edge:.2f}")


NEXT_OPEN = "next_open"  # the account of long or flat if it traded at the next open
FRICTIONLESS = "frictionless"  # and if it traded at once and at no cost: an upper bound

FALSE_SKILL = audit("false_skill")

TRAIN_LOSS = "train/loss"
VALID_LOSS = "valid/loss"
BEST_VALID_LOSS = "valid/best_loss"

ZERO_RETURNS = score("zero_returns")
ACCURACY = score("accuracy")
ACCURACY_LOW = score("accuracy_low")
ACCURACY_HIGH = score("accuracy_high")
LOG_LOSS = score("log_loss")
BRIER = score("brier")
AUC = score("auc")

PT_PVALUE = pvalue("pt")
PT_PVALUE_ADJUSTED = pvalue("pt") + "_adjusted"
CONDITIONAL_PVALUE = pvalue("conditional")
CONDITIONAL_PVALUE_ADJUSTED = pvalue("conditional") + "_adjusted"
DAYS_FOR_THIS_ACCURACY = significance("days_for_this_accuracy")

BREAK_EVEN_COST = backtest("break_even_cost")
TIMING_GAIN = backtest("timing_gain")
TIMING_T = backtest("timing_t")

# What the names of a ratio (_net) and of its interval (_low, _high) start with
SHARPE = backtest("sharpe")
HOLD_SHARPE = hold("sharpe")
NEXT_OPEN_SHARPE = backtest("sharpe", NEXT_OPEN)
FRICTIONLESS_SHARPE = backtest("sharpe", FRICTIONLESS)
