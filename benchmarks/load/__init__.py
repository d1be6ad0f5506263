"""What years of use pile up: rows of the ledger, runs of MLflow, runs in a queue."""
