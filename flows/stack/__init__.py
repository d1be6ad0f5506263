"""The whole stack on this machine: Prefect's server, a worker, the deployments and MLflow's UI."""
