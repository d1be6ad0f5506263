"""The only place that imports MLflow: what it is told of the flows' work, and what it is asked.

`store` is where runs are, `runs` the life of one, `records` what the flows write to it, `queries`
what is asked of runs, `registry` the registered models, and `served_model` what MLflow serves.
"""
