"""The registered model, loaded and served over HTTP, predicts what its run predicted."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

import rnn_core
from flows.retrain import retrain
from flows.steps.summary import Summary
from flows.tracking import serving
from rnn_core.config import File, Problem
from rnn_core.data import loading
from rnn_core.data.exchanges import sessions
from rnn_core.errors import DataError
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
    assert model.metadata.signature.inputs is None  # MLflow would refuse CSV and drop columns
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
    client.create_registered_model("direction-BEFOREMOVES")
    version = client.create_model_version("direction-BEFOREMOVES", str(folder)).version
    assert serving.call("BEFOREMOVES", int(version), prices) == summary.forecast


def mlflows_own() -> set[str]:
    """What loading any model of MLflow's imports by itself."""
    probe = "import mlflow.pyfunc, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def with_dates(prices: pd.DataFrame) -> pd.DataFrame:
    """The last 40 prices, numbered, with their sessions as a column of text."""
    last = prices.tail(40)
    return last.reset_index(drop=True).assign(date=last.index.strftime("%Y-%m-%d").to_numpy())


def named(prices: pd.DataFrame, date: str, close: str, volume: str) -> pd.DataFrame:
    """The last 40 prices under other names, the last session first."""
    names = {"date": date, "close": close, "volume": volume}
    return with_dates(prices).iloc[::-1].reset_index(drop=True).rename(columns=names)


def other(prices: pd.DataFrame) -> pd.DataFrame:
    """Prices that would give another forecast."""
    return prices * [2, 3]


# What must give the run's own forecast, from the prices by session
SAME = {
    "whole volumes": lambda prices: prices.astype({"volume": "int64"}),
    "32-bit whole volumes": lambda prices: prices.astype({"volume": "int32"}),
    "nullable volumes": lambda prices: prices.astype({"volume": "Int64"}),
    "objects": lambda prices: prices.astype(object),
    "decimals": lambda prices: prices.map(lambda value: Decimal(repr(value))),
    "other columns": lambda prices: prices.assign(note="x", open=np.nan)[
        ["note", "volume", "close"]
    ],
    "names of Yahoo": lambda prices: named(prices, "Date", "Adj Close", "Volume"),
    "Korean names": lambda prices: named(prices, "날짜", "수정종가", "거래량"),
    "German names": lambda prices: named(prices, "Datum", "Schluss", "Volumen"),
    "dates written as numbers": lambda prices: with_dates(prices).assign(
        date=lambda rows: rows["date"].str.replace("-", "").astype(int)
    ),
    "no more than five missing sessions": lambda prices: pd.concat(
        [other(prices.iloc[:5]), prices.tail(30)]
    ),
    "a dictionary of columns": lambda prices: prices.to_dict("list"),
    "falling dates": lambda prices: prices.iloc[::-1],
    "shuffled dates": lambda prices: prices.sample(frac=1, random_state=0),
    "falling text": lambda prices: prices.set_axis(prices.index.strftime("%Y-%m-%d")).iloc[::-1],
    "falling column": lambda prices: with_dates(prices).iloc[::-1],
    "falling column, renumbered": lambda prices: (
        with_dates(prices).iloc[::-1].reset_index(drop=True)
    ),
    "New York's midnights": lambda prices: prices.tz_localize("America/New_York").iloc[::-1],
    "midnights of UTC": lambda prices: prices.tz_localize("UTC").iloc[::-1],
    "closes as instants": lambda prices: (
        prices.set_axis(prices.index + pd.Timedelta(hours=16))
        .tz_localize("America/New_York")
        .tz_convert("Asia/Seoul")
        .iloc[::-1]
    ),
    "instants as text": lambda prices: (
        with_dates(prices).assign(date=lambda rows: rows["date"] + "T16:00:00-05:00").iloc[::-1]
    ),
}


@pytest.mark.parametrize("form", SAME.values(), ids=SAME)
def test_it_takes_prices_as_people_have_them(
    summary: Summary, model_uri: str, prices: pd.DataFrame, form: Any
) -> None:
    model = mlflow.pyfunc.load_model(model_uri)
    [row] = model.predict(form(prices.tail(40))).to_numpy().tolist()
    assert tuple(row) == summary.forecast


def test_closes_may_be_whole_numbers(model_uri: str, prices: pd.DataFrame) -> None:
    model = mlflow.pyfunc.load_model(model_uri)
    whole = prices.assign(close=prices["close"].round() + 1)
    expected = model.predict(whole)
    pd.testing.assert_frame_equal(model.predict(whole.astype("int64")), expected)


def every(prices: pd.DataFrame, step: int) -> pd.DataFrame:
    """As many prices, every `step` sessions up to the last one."""
    days = sessions("XNYS", date(1990, 1, 1), prices.index[-1].date())
    return prices.set_axis(days[::-1][::step][: len(prices)][::-1].rename("date"))


def after_a_gap(prices: pd.DataFrame, missing: int) -> pd.DataFrame:
    """The prices with so many sessions missing before the last ten."""
    days = sessions("XNYS", date(1990, 1, 1), prices.index[-1].date())
    kept = [*days[: -10 - missing], *days[-10:]]
    return prices.set_axis(pd.DatetimeIndex(kept[-len(prices) :], name="date"))


# A change of the last 40 prices, and how the one line that refuses it ends
REFUSED = {
    "too few": (lambda prices: prices.tail(20), "the model needs the last 30 prices (got 20)"),
    "none": (lambda prices: prices.head(0), "the model needs the last 30 prices (got 0)"),
    "zero": (
        lambda prices: prices.assign(close=0.0),
        "close must be a number above zero (got 0.0)",
    ),
    "below zero": (lambda prices: prices.assign(close=-1), "above zero (got -1)"),
    "NaN": (lambda prices: prices.assign(close=np.nan), "above zero (got nan)"),
    "None": (lambda prices: prices.assign(close=None), "above zero (got None)"),
    "infinity": (lambda prices: prices.assign(close=np.inf), "above zero (got inf)"),
    "words": (lambda prices: prices.assign(close="one\ntwo"), "above zero (got 'one\\ntwo')"),
    "lists": (lambda prices: prices.assign(close=[[1.0]] * 40), "above zero (got [1.0])"),
    "no close": (
        lambda prices: prices[["volume"]],
        "the model needs the column close, by this or another usual name (got volume)",
    ),
    "no volume": (
        lambda prices: prices[["close"]],
        "needs the column volume, because of its feature volume_change, by this or another usual "
        "name (got close)",
    ),
    "a volume below zero": (
        lambda prices: prices.assign(volume=-1),
        "volume must be a number of zero or more (got -1)",
    ),
    "an unknown volume": (
        lambda prices: prices.assign(volume=np.nan),
        "volume must be a number of zero or more (got nan)",
    ),
    "a session twice": (
        lambda prices: pd.concat([prices, prices.tail(1)]),
        "every session must have one price; 2013-03-01 has several",
    ),
    "a session twice, by other hours": (
        lambda prices: with_dates(pd.concat([prices, prices.tail(1)])).assign(
            date=lambda rows: [*(rows["date"][:-1] + "T00:00-05:00"), "2013-03-01T16:00:00-05:00"]
        ),
        "every session must have one price; 2013-03-01 has several",
    ),
    "no date": (
        lambda prices: with_dates(prices).assign(date="soon"),
        "every date must be written such as 2013-01-31 (got 'soon')",
    ),
    "no time": (
        lambda prices: with_dates(prices).assign(date=pd.NaT),
        "2013-01-31 (got NaT)",
    ),
    "an unknown date": (
        lambda prices: with_dates(prices).assign(date=lambda rows: [*rows["date"][:-1], None]),
        "2013-01-31 (got nan)",
    ),
    "dates as seconds": (
        lambda prices: with_dates(prices).assign(
            date=prices.index.astype("datetime64[s]").astype("int64")
        ),
        "2013-01-31 (got 1357171200)",
    ),
    "dates as milliseconds": (
        lambda prices: prices.set_axis(prices.index.astype("datetime64[ms]").astype("int64")),
        "an index of numbers must count the rows (got 1362096000000); write dates such as "
        "2013-01-31",
    ),
    "years": (lambda prices: with_dates(prices).assign(date=2013), "2013-01-31 (got 2013)"),
    "dates of no calendar": (
        lambda prices: with_dates(prices).assign(date="0001-01-01T00:00Z"),
        "2013-01-31 (got '0001-01-01T00:00Z')",
    ),
    "several time zones": (
        lambda prices: with_dates(prices).assign(
            date=lambda rows: [*(rows["date"][:-1] + "T00:00Z"), "2013-03-01T00:00+09:00"]
        ),
        "in the same time zone (got 2013-01-03T00:00Z and 2013-03-01T00:00+09:00)",
    ),
    "a time zone in one row": (
        lambda prices: with_dates(prices).assign(
            date=lambda rows: [*(rows["date"][:-1] + "T16:00"), "2013-03-01T16:00Z"]
        ),
        "in the same time zone (got 2013-03-01T16:00Z and 2013-01-03T16:00)",
    ),
    "dates under an unknown name": (
        lambda prices: named(prices, "Tag", "close", "volume"),
        "the column 'Tag' holds dates; call it date, or leave it out if the rows are in order, "
        "the oldest first",
    ),
    "several closes": (
        lambda prices: prices.assign(**{"Adj Close": prices["close"] / 2}),
        "the model needs one column close (got close, Adj Close); keep one",
    ),
    "a column twice": (
        lambda prices: prices[["close", "close", "volume"]],
        "the model needs one column close (got close, close); keep one",
    ),
    "booleans": (lambda prices: prices.assign(close=True), "above zero (got True)"),
    "a boolean": (
        lambda prices: prices.assign(close=[*prices["close"][:-1], True]),
        "above zero (got True)",
    ),
    "a boolean volume": (lambda prices: prices.assign(volume=False), "or more (got False)"),
    "numbers as text": (lambda prices: prices.assign(close="441.4"), "zero (got '441.4')"),
    "dictionaries": (lambda prices: prices.assign(close=[{}] * 40), "above zero (got {})"),
    "weeks": (
        lambda prices: every(prices, 5),
        "prices: the rows are about 5 sessions of XNYS apart; weekly prices are not daily ones; "
        "give every session",
    ),
    "months": (
        lambda prices: every(prices, 21),
        "prices: the rows are about 21 sessions of XNYS apart; monthly prices are not daily ones; "
        "give every session",
    ),
    "every second session": (
        lambda prices: every(prices, 2),
        "prices: the rows are about 2 sessions of XNYS apart; prices are not daily ones; "
        "give every session",
    ),
    "a gap": (
        lambda prices: after_a_gap(prices, missing=100),
        "the last 30 prices lack 100 sessions of XNYS between them; at most 5 may be missing",
    ),
    "a gap of six sessions": (
        lambda prices: after_a_gap(prices, missing=6),
        "the last 30 prices lack 6 sessions of XNYS between them; at most 5 may be missing",
    ),
    "weekends": (
        lambda prices: prices.asfreq("D").ffill().tail(40),
        "12 of 40 rows are on days that are no sessions of XNYS (2013-01-21, 2013-01-26, "
        "2013-01-27, 2013-02-02, 2013-02-03, 2013-02-09 and 6 more); give its sessions",
    ),
    "falling numbers": (
        lambda prices: prices.reset_index(drop=True).iloc[::-1],
        "the index must rise, or hold the dates of the sessions",
    ),
}


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_it_refuses_prices_it_cannot_use_in_one_line(
    model_uri: str, prices: pd.DataFrame, change: Any, said: str
) -> None:
    model = mlflow.pyfunc.load_model(model_uri)
    with pytest.raises(DataError) as error:
        model.predict(change(prices.tail(40)))
    assert str(error.value).endswith(said)
    assert "\n" not in str(error.value)


NOT_IN_JSON = ("infinity", "NaN", "a column twice")


@pytest.fixture(scope="module")
def served(summary: Summary, runs_folder: Path) -> Iterator[str]:
    """The address of a real server of the model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    tracking = f"sqlite:///{runs_folder}/mlflow.db"
    version = MlflowClient(tracking).get_run(summary.run_id).data.tags["model.version"]
    model = ("--model-uri", f"models:/direction-078935.KS/{version}", "--env-manager", "local")
    command = [sys.executable, "-m", "mlflow", "models", "serve", *model, "--port", port]
    # MLflow starts uvicorn by its name
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "MLFLOW_TRACKING_URI": tracking}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env=environment, **quiet)
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", server)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        server.terminate()
        server.wait(30)


def test_it_is_served_over_http(summary: Summary, served: str, prices: pd.DataFrame) -> None:
    last = prices.tail(40)
    whole = last.astype({"volume": "int64"})
    falling = with_dates(prices).iloc[::-1]
    bodies = {
        "split": {"dataframe_split": last.reset_index(drop=True).to_dict("split", index=False)},
        "whole numbers": {"dataframe_split": whole.to_dict("split", index=False)},
        "falling index": json.loads(
            f'{{"dataframe_split": {last.iloc[::-1].to_json(orient="split", date_format="iso")}}}'
        ),
        "falling column": {"dataframe_split": falling.to_dict("split", index=False)},
        "records": {"dataframe_records": falling.to_dict("records")},
        "inputs": {"inputs": falling.to_dict("list")},
        "instances": {"instances": falling.to_dict("records")},
    }
    for form, body in bodies.items():
        answer = httpx.post(served, json=body, timeout=60)
        assert answer.status_code == 200, (form, answer.text)
        (row,) = answer.json()["predictions"]
        assert (row["probability_up"], row["spread"]) == pytest.approx(summary.forecast, abs=1e-9)
        if form != "falling index":  # to_json writes ten digits
            assert (row["probability_up"], row["spread"]) == summary.forecast, form


def test_it_takes_csv_over_http(summary: Summary, served: str, prices: pd.DataFrame) -> None:
    texts = {
        "without dates": prices.tail(40).to_csv(index=False),
        "falling dates": prices.tail(40).iloc[::-1].to_csv(),
        "whole volumes": prices.tail(40).astype({"volume": "int64"}).to_csv(),
        "names of Yahoo": named(prices, "Date", "Adj Close", "Volume").to_csv(index=False),
        "Korean names": named(prices, "날짜", "종가", "거래량").to_csv(index=False),
    }
    for form, text in texts.items():
        answer = post_csv(served, text)
        assert answer.status_code == 200, (form, answer.text)
        (row,) = answer.json()["predictions"]
        assert (row["probability_up"], row["spread"]) == pytest.approx(summary.forecast, abs=1e-12)


def test_it_takes_parquet_over_http(summary: Summary, served: str, prices: pd.DataFrame) -> None:
    content = prices.tail(40).iloc[::-1].to_parquet()
    kind = {"content-type": "application/vnd.apache.parquet"}
    answer = httpx.post(served, content=content, headers=kind, timeout=60)
    (row,) = answer.json()["predictions"]
    assert (row["probability_up"], row["spread"]) == summary.forecast


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda prices: prices.assign(close=True), "above zero (got True)"),
        (
            lambda prices: prices.assign(close=[*prices["close"][:-1], "-"]),
            "(got '65.185287704435')",
        ),
        (lambda prices: prices.assign(close=np.nan), "above zero (got nan)"),
        (lambda prices: every(prices, 5), "weekly prices are not daily ones; give every session"),
        (
            lambda prices: prices.rename_axis(None),
            "the column 'Unnamed: 0' holds dates; call it "
            "date, or leave it out if the rows are in order, the oldest first",
        ),
    ],
    ids=["booleans", "text", "unknown", "weeks", "an index without a name"],
)
def test_over_http_a_csv_that_it_refuses_is_answered_in_one_line(
    served: str, prices: pd.DataFrame, change: Any, said: str
) -> None:
    answer = post_csv(served, change(prices.tail(40)).to_csv())
    assert answer.status_code == 400
    assert answer.json().keys() == {"error_code", "message"}
    assert answer.json()["message"].endswith(said), answer.text


def post_csv(url: str, text: str) -> httpx.Response:
    return httpx.post(url, content=text, headers={"content-type": "text/csv"}, timeout=60)


@pytest.mark.parametrize(
    ("change", "said"),
    [value for key, value in REFUSED.items() if key not in NOT_IN_JSON],
    ids=[key for key in REFUSED if key not in NOT_IN_JSON],
)
def test_over_http_what_it_refuses_is_one_line_with_status_400(
    served: str, prices: pd.DataFrame, change: Any, said: str
) -> None:
    frame = change(prices.tail(40))
    split = json.loads(frame.to_json(orient="split", date_format="iso"))
    answer = httpx.post(served, json={"dataframe_split": split}, timeout=60)
    assert answer.status_code == 400, answer.text
    assert answer.text.count("\n") == 0
    body = answer.json()
    assert body.keys() == {"error_code", "message"}
    message = body["message"]
    # JSON writes each as null
    assert message.endswith(re.sub(r"got nan|got NaT", "got None", said)) or message.endswith(said)
    assert "\n" not in message


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
