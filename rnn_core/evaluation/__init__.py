"""From logits to a verdict: scores, baselines, tests, the backtest, and what a network looks at."""
