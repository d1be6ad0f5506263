#!/usr/bin/env bash
# mlflow 3.17.2: a model whose signature has a column of type `any` answers every CSV request with an internal traceback.
#
# `AnyType` is how a signature says that a column may be a whole number, a decimal or absent; JSON and Parquet work. The scoring server
# reads a CSV by the signature's pandas types, and for `any` there is none: `Schema.pandas_types()` raises before the model is
# called. Two documented things, an optional column of any type and `Content-Type: text/csv`, cannot be used together. The answer is
# HTTP 400, which asks for "a valid CSV-formatted Pandas DataFrame" although it is one, and a stack trace; neither the column nor its
# type is named. Without input columns the same CSV is answered.
# Seen: 400 and 200 for the CSV with and without the signature, 200 for the same rows as JSON.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2 httpx==0.28.1 2>/dev/null
cd "$folder"
export PYTHONWARNINGS=ignore
cat > model.py <<'PYTHON'
import mlflow
import pandas as pd


class Last(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return pd.DataFrame({"last": [float(model_input["close"].iloc[-1])]})


mlflow.models.set_model(Last())
PYTHON
"$folder/venv/bin/python" - <<'PYTHON'
import logging

import mlflow
from fastapi.testclient import TestClient
from mlflow.models import ModelSignature
from mlflow.pyfunc.scoring_server import init
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType

logging.disable(logging.CRITICAL)
outputs = Schema([ColSpec("double", "last")])
of_any = Schema([ColSpec(AnyType(), "close", required=False)])


def answers(inputs: Schema | None) -> tuple[int, int, str]:
    """Return the codes for a CSV and for JSON, and what the CSV is answered."""
    path = f"saved-{inputs is not None}"
    mlflow.pyfunc.save_model(path, python_model="model.py", signature=ModelSignature(inputs, outputs))
    server = TestClient(init(mlflow.pyfunc.load_model(path)), raise_server_exceptions=False)
    csv = server.post("/invocations", content="close\n1.5\n2.5\n", headers={"content-type": "text/csv"})
    rows = server.post("/invocations", json={"dataframe_split": {"columns": ["close"], "data": [[1.5], [2.5]]}})
    return csv.status_code, rows.status_code, csv.text


of_any_type = answers(of_any)
without = answers(None)
print("with a column of any type: CSV", of_any_type[0], "JSON", of_any_type[1])
print("without input columns:     CSV", without[0], "JSON", without[1])
print(of_any_type[2][:200])
assert of_any_type[:2] == (400, 200)
assert without[:2] == (200, 200)
assert "close" not in of_any_type[2].split("stack_trace")[0]
PYTHON
