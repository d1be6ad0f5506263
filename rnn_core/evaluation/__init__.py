"""From logits to a verdict: scores, baselines, tests, the backtest, and explanations of a network."""
