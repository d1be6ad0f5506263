"""From prices to windows: sources of prices, their sessions, and walk-forward folds."""
