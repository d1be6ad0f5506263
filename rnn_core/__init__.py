"""Recurrent networks on daily prices, trained and evaluated honestly. Knows nothing of Prefect or MLflow."""
