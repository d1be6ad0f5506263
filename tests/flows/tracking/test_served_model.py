"""The registered model, loaded and served over HTTP, predicts what its run predicted."""

import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

import rnn_core
from flows.retrain import retrain
from flows.steps.summary import Summary
from flows.tracking import registry
from rnn_core.config import File, Problem
from rnn_core.data import loading
from rnn_core.nn.ensemble import call
from tests.flows.conftest import AAPL, TINY

SOURCE = File(path=AAPL, exchange="XNYS")
PROBLEM = Problem(features=("return", "volume_change", "volatility"))


@pytest.fixture(scope="module")
def summary(runs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("served"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs_folder}/mlflow.db")
        return retrain(ticker="078935.KS", source=SOURCE, problem=PROBLEM, **TINY)


@pytest.fixture
def model_uri(summary: Summary) -> str:
    version = MlflowClient().get_run(summary.run_id).data.tags["model.version"]
    return f"models:/direction-078935.KS/{version}"


@pytest.fixture(scope="module")
def prices() -> pd.DataFrame:
    return loading.load(SOURCE, "078935.KS", datetime.now(UTC)).frame[["close", "volume"]]


def test_it_predicts_the_runs_own_forecast_bit_for_bit(
    summary: Summary, model_uri: str, prices: pd.DataFrame
) -> None:
    model = mlflow.pyfunc.load_model(model_uri)
    predicted = model.predict(prices.reset_index(drop=True))
    assert predicted["probability_up"].tolist() == [summary.forecast[0]]
    assert predicted["spread"].tolist() == [summary.forecast[1]]
    again = model.predict(prices.tail(40))
    assert again.to_numpy().tobytes() == predicted.to_numpy().tobytes()


def test_it_has_a_signature_an_example_and_explicit_requirements(model_uri: str) -> None:
    model = mlflow.pyfunc.load_model(model_uri)
    assert model.metadata.signature.inputs.input_names() == ["close", "volume"]
    assert model.metadata.signature.outputs.input_names() == ["probability_up", "spread"]
    assert len(model.input_example) == PROBLEM.volatility_window + PROBLEM.seq_len
    folder = Path(mlflow.artifacts.download_artifacts(model_uri))
    requirements = (folder / "requirements.txt").read_text().split()
    assert f"numpy=={np.__version__}" in requirements
    assert not [path for path in folder.rglob("*") if path.suffix == ".pkl"]


def test_it_needs_what_was_logged_with_it_and_nothing_else(model_uri: str, tmp_path: Path) -> None:
    """In a fresh process it imports the package from its own files, all of them."""
    folder = Path(mlflow.artifacts.download_artifacts(model_uri))
    probe = (
        "import json, sys, mlflow, pandas as pd\n"
        f"model = mlflow.pyfunc.load_model({str(folder)!r})\n"
        "model.predict(model.input_example)\n"
        "own = [module.__file__ for name, module in sys.modules.items()"
        " if name.split('.')[0] == 'rnn_core']\n"
        "print(json.dumps([own, sorted({name.split('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    own, imported = json.loads(done.stdout.splitlines()[-1])
    assert sorted(map(Path, own)) == sorted((folder / "code").rglob("*.py"))
    required = {line.split("==")[0] for line in (folder / "requirements.txt").read_text().split()}
    standard = set(sys.stdlib_module_names) | {"rnn_core", "served_model"}
    foreign = (
        {name for name in imported if not name.startswith(("_", "code_model_"))}
        - mlflows_own()
        - standard
    )
    assert foreign <= required


def test_a_model_that_was_registered_before_modules_moved_still_loads(
    summary: Summary,
    model_uri: str,
    prices: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own served_model.py imports modules of this process by their names of then."""
    folder = Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=str(tmp_path)))
    code = (folder / "served_model.py").read_text()
    for before, now in {
        "from rnn_core import interchange as checkpoints": "from rnn_core.nn import checkpoints",
        "from rnn_core.problems import inputs": "from rnn_core.data.windows import inputs",
        "from rnn_core.training import call": f"from {call.__module__} import call",
    }.items():
        assert now in code
        code = code.replace(now, before)
    (folder / "served_model.py").write_text(code)
    for name in ("interchange", "problems", "training"):
        monkeypatch.delitem(sys.modules, f"rnn_core.{name}", raising=False)
        monkeypatch.delattr(rnn_core, name, raising=False)
    client = MlflowClient()
    client.create_registered_model("direction-OLDER")
    version = client.create_model_version("direction-OLDER", str(folder)).version
    assert registry.call("OLDER", int(version), prices) == summary.forecast


def mlflows_own() -> set[str]:
    """What loading any model of MLflow's imports by itself."""
    probe = "import mlflow.pyfunc, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda prices: prices.tail(20), "20 prices received; the model needs the last 30"),
        (lambda prices: prices.tail(40).assign(close=0.0), "a number above zero; received 0"),
        (lambda prices: prices.tail(40).assign(close=np.nan), "a number above zero; received nan"),
        (lambda prices: prices.tail(40).assign(close=np.inf), "a number above zero; received inf"),
    ],
)
def test_it_refuses_prices_it_cannot_use(
    model_uri: str, prices: pd.DataFrame, change: object, said: str
) -> None:
    model = mlflow.pyfunc.load_model(model_uri)
    with pytest.raises(Exception, match=said):
        model.predict(change(prices))


def test_it_is_served_over_http(summary: Summary, model_uri: str, prices: pd.DataFrame) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "--model-uri",
        model_uri,
        "--env-manager",
        "local",
    ]
    # MLflow starts uvicorn by its name
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(
        [*command, "--port", str(port)], env=os.environ | {"PATH": path}, **quiet
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", server)
        body = json.dumps(
            {
                "dataframe_split": prices.tail(40)
                .reset_index(drop=True)
                .to_dict("split", index=False)
            }
        )
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(
            f"http://127.0.0.1:{port}/invocations", content=body, headers=headers, timeout=60
        )
        assert answer.status_code == 200, answer.text
        (row,) = answer.json()["predictions"]
        assert (row["probability_up"], row["spread"]) == summary.forecast
    finally:
        server.terminate()
        server.wait(30)


def wait_for(url: str, server: subprocess.Popen[bytes], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended"
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.3)
    pytest.fail(f"{url} did not answer within {seconds} s")
