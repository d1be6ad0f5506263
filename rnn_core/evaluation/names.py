"""The names under which a run's figures are recorded: a section, a slash, a name.

MLflow charts what comes before the slash together; whoever reads a score back asks for it by these names.
"""

TRAIN_LOSS = "train/loss"
VALID_LOSS = "valid/loss"
BEST_VALID_LOSS = "valid/best_loss"

ACCURACY = "test/accuracy"
ACCURACY_LOW = "test/accuracy_low"
ACCURACY_HIGH = "test/accuracy_high"
LOG_LOSS = "test/log_loss"
BRIER = "test/brier"
AUC = "test/auc"

PT_PVALUE = "significance/pt_pvalue"
PT_PVALUE_ADJUSTED = "significance/pt_pvalue_adjusted"
DAYS_FOR_THIS_ACCURACY = "significance/days_for_this_accuracy"

SHARPE = "backtest/sharpe"
HOLD_SHARPE = "backtest/hold_sharpe"


def baseline_accuracy(baseline: str) -> str:
    """Return the name of the accuracy of a baseline, such as `majority`."""
    return f"baseline/{baseline}_accuracy"


def baseline_log_loss(baseline: str) -> str:
    """Return the name of the log loss of a baseline."""
    return f"baseline/{baseline}_log_loss"


def dm_pvalue(baseline: str) -> str:
    """Return the name of the Diebold–Mariano p-value of the network against a baseline."""
    return f"significance/dm_{baseline}_pvalue"
