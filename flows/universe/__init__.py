"""Many tickers, retrained side by side. Nothing is imported here: the command starts its processes first."""
