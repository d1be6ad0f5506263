"""Forecasts and what came true, promotions and rollbacks: append-only tables in SQLite or PostgreSQL."""

from rnn_core.operations.ledger.ledger import Decision, Forecast, Ledger

__all__ = ["Decision", "Forecast", "Ledger"]
