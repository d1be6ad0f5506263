"""Everything MLflow is told and asked. Nothing else imports mlflow."""
