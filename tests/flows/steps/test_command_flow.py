"""A flow's parameters are the fields of its configuration, with defaults and descriptions."""

import inspect
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from prefect.exceptions import ParameterBindError
from prefect.flows import Flow

from flows.forecast import forecast
from flows.prune import prune
from flows.reproduce import reproduce
from flows.retrain import retrain
from flows.score import score
from flows.steps.command_flow import command_flow
from flows.study import study
from flows.universe.flow import retrain_universe
from rnn_core import commands
from rnn_core.commands import Command

FLOWS = {
    retrain: commands.Retrain,
    retrain_universe: commands.RetrainUniverse,
    forecast: commands.Forecast,
    score: commands.Score,
    study: commands.Study,
    prune: commands.Prune,
    reproduce: commands.Reproduce,
}
NAMES = [flow.name for flow in FLOWS]
RECIPE = ["source", "problem", "model", "training", "evaluation", "promotion", "again"]
ORDER = {
    "retrain": ["ticker", *RECIPE, "scheduled", "now"],
    "retrain-universe": [*["tickers", "file", *RECIPE, "runner", "chunk", "scheduled", "now"]],
    "forecast": ["ticker", "source", "session", "grace", "scheduled", "now"],
    "score": ["ticker", "source", "recent", "drift_level", "tolerated", "scheduled", "now"],
    "study": ["name", "language", "size", "ticker", "source", "training", "now"],
    "prune": ["days", "keep", "now"],
    "reproduce": ["run", "now"],
}
SOURCES = [{"$ref": f"#/definitions/{kind}"} for kind in ("Yahoo", "File", "Synthetic")]
NOW = datetime(2021, 6, 2, 22, tzinfo=UTC)


@command_flow(commands.Prune)
def told(config: commands.Prune) -> commands.Prune:
    """Return its configuration."""
    return config


@pytest.mark.parametrize(("flow", "section"), FLOWS.items(), ids=NAMES)
def test_the_form_shows_every_field_with_its_description_and_default(
    flow: Flow[..., Any], section: type[Command]
) -> None:
    form = flow.parameters.model_dump()
    described = {name: field.description for name, field in section.model_fields.items()}
    assert {name: one["description"] for name, one in form["properties"].items()} == described
    tree = json.loads(json.dumps(section.model_json_schema()).replace("#/$defs/", "#/definitions/"))
    assert {name: one["properties"] for name, one in form["definitions"].items()} == {
        name: one["properties"] for name, one in tree.get("$defs", {}).items()
    }
    parameters = inspect.signature(flow.fn).parameters
    required = [name for name, field in section.model_fields.items() if field.is_required()]
    defaults = {name: one.default for name, one in parameters.items() if name not in required}
    assert section(**dict.fromkeys(required, "x"), **defaults) == section(
        **dict.fromkeys(required, "x")
    )
    assert form["required"] == required


@pytest.mark.parametrize("flow", FLOWS, ids=NAMES)
def test_the_form_starts_with_what_is_special_to_the_flow(flow: Flow[..., Any]) -> None:
    properties = flow.parameters.properties
    assert sorted(properties, key=lambda name: properties[name]["position"]) == ORDER[flow.name]


def test_the_form_has_plain_types_and_a_choice_of_sources() -> None:
    properties = forecast.parameters.properties
    assert properties["ticker"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert properties["source"]["anyOf"] == [*SOURCES, {"type": "null"}]
    assert retrain.parameters.properties["source"]["anyOf"] == SOURCES
    assert retrain.parameters.properties["ticker"]["type"] == "string"


@pytest.mark.parametrize(("flow", "section"), FLOWS.items(), ids=NAMES)
def test_the_flow_is_described_by_its_configuration(
    flow: Flow[..., Any], section: type[Command]
) -> None:
    assert flow.description is not None
    assert section.__doc__ is not None
    assert flow.description.startswith(section.__doc__)


def test_the_function_is_called_with_the_configuration() -> None:
    assert told.fn(3, now=NOW) == commands.Prune(days=3, now=NOW)
    assert told.fn(keep=2, now=NOW) == commands.Prune(keep=2, now=NOW)


def test_now_is_the_present_time_unless_it_is_given() -> None:
    before = datetime.now(UTC)
    for config in (told.fn(), told.fn(now=None)):
        assert config.now is not None
        assert before <= config.now <= datetime.now(UTC)


def test_a_parameter_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ParameterBindError, match="day"):
        told(day=3)
    with pytest.raises(TypeError, match="day"):
        told.fn(day=3)


@pytest.mark.parametrize("flow", [retrain, told], ids=["retrain", "told"])
def test_a_flow_survives_pickling(flow: Flow[..., Any]) -> None:
    copy = cloudpickle.loads(cloudpickle.dumps(flow))
    assert inspect.signature(copy.fn) == inspect.signature(flow.fn)
    assert copy.parameters == flow.parameters


def test_the_version_of_a_flow_is_that_of_its_own_file() -> None:
    versions = [flow.version for flow in FLOWS]
    assert len(set(versions)) == len(versions)


def test_a_run_tunes_its_process_and_an_import_does_not(tmp_path: Path) -> None:
    """A worker starts a flow run in a process of its own, which no command line has tuned."""
    program = tmp_path / "program.py"
    program.write_text(
        "import gc\n"
        "from flows.steps.command_flow import command_flow\n"
        "from rnn_core.commands import Prune\n"
        "@command_flow(Prune)\n"
        "def nothing(config: Prune) -> None:\n"
        "    print(gc.get_threshold()[0])\n"
        "print(gc.get_threshold()[0])\n"
        "nothing.fn()\n"
    )
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=True, env=os.environ
    )
    by_default, in_a_run = map(int, done.stdout.split())
    assert by_default < in_a_run
