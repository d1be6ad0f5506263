"""Many tickers, retrained side by side. It imports nothing: the command starts processes first."""
