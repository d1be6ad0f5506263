"""Everything that imports MLflow.

`store` is where runs are, `runs` the life of a run, `records` what the flows write to it,
`recorded` what a training run has written, `versions` what its bits depend on, `queries` the
questions about runs, `registry` the registered models, and `served_model` what MLflow serves.
"""
