"""Append-only record of forecasts, their outcomes, promotions and rollbacks."""

from rnn_core.operations.ledger.ledger import Decision, Forecast, Ledger

__all__ = ["Decision", "Forecast", "Ledger"]
