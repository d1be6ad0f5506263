"""Append-only record of forecasts, their outcomes, promotions and rollbacks."""

from rnn_core.operations.ledger.decisions import Decision
from rnn_core.operations.ledger.forecast import Forecast
from rnn_core.operations.ledger.ledger import Ledger

__all__ = ["Decision", "Forecast", "Ledger"]
