"""What a webhook receives once the automations are made as the head of `automations.yaml` says."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import yaml

from flows.stack.healing import LOST_RUNS
from tests.e2e.prefect_site import Site
from tests.processes import CHECKOUT, run, start, wait_for

AUTOMATIONS = CHECKOUT / "automations.yaml"
WRITTEN = yaml.safe_load(AUTOMATIONS.read_text())
EXAMPLE = "https://hooks.slack.com/services/…"
PRICES = str(CHECKOUT / "tests/data/MSFT.csv")
NO_PRICES = "/absent/prices.csv"
ALARM = (
    "from flows.steps.prefect_runs import announce; announce('alarm', 'MSFT', 'stale: 13 sessions')"
)


@pytest.fixture(scope="module")
def texts(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What a webhook has received since the automations were made."""
    folder = tmp_path_factory.mktemp("automations")
    shutil.copy(AUTOMATIONS, folder)
    lines = AUTOMATIONS.read_text().splitlines()
    commands = "\n".join(line.removeprefix("#   ") for line in lines if line.startswith("#   "))
    assert EXAMPLE in commands
    with _webhook() as (address, texts):
        commands = commands.replace(EXAMPLE, address)
        done = run("bash", "-e", "-c", commands, environment=site.environment, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        yield texts
        assert site.prefect("--no-prompt", "automation", "delete", "--all").returncode == 0


@pytest.fixture(scope="module")
def failed(site: Site, texts: list[str]) -> str:
    """The id of a flow run without prices; it and the next one run side by side."""
    flow_run, _ = site.retrain(ticker="MSFT", source={"kind": "file", "path": NO_PRICES})
    return flow_run


@pytest.fixture(scope="module")
def promoted(site: Site, texts: list[str]) -> str:
    """The id of a flow run that makes the first model of a ticker."""
    source, training = {"kind": "file", "path": PRICES}, {"epochs": 2, "seeds": 1}
    flow_run, _ = site.retrain(ticker="MSFT", source=source, training=training)
    return flow_run


def test_the_flows_of_all_deployments_are_watched(site: Site) -> None:
    flows = {
        site.ask(f"/flows/{one['flow_id']}")["name"] for one in site.ask("/deployments/filter", {})
    }
    assert set(WRITTEN["definitions"]["ours"]["prefect.resource.name"]) == flows


def test_a_failed_run_is_told(site: Site, texts: list[str], failed: str, promoted: str) -> None:
    text = _told(texts, "failed")
    assert text.startswith("retrain/retrain-MSFT failed: ")
    assert NO_PRICES in text
    assert text.endswith(f" {site.address}/runs/flow-run/{failed}")


def test_a_promotion_is_told(site: Site, texts: list[str], promoted: str) -> None:
    text = _told(texts, "promotion")
    assert text.startswith("MSFT promotion: version 1 is the champion")
    assert text.endswith(f" {site.address}/runs/flow-run/{promoted}")


def test_an_alarm_is_told_and_has_no_link_outside_of_a_run(site: Site, texts: list[str]) -> None:
    done = run(sys.executable, "-c", ALARM, environment=site.environment, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    assert _told(texts, "alarm") == "MSFT alarm: stale: 13 sessions"


def test_a_run_whose_heartbeats_have_ceased_is_crashed_and_told(
    site: Site, texts: list[str]
) -> None:
    lost = LOST_RUNS.model_dump(mode="json")  # which the stack installs
    soon = {
        "match": {"prefect.resource.name": "retrain-LOST"},
        "within": 10,
    }  # seconds, the least that Prefect allows
    sooner = lost | {"trigger": lost["trigger"] | soon}
    done = site.prefect("automation", "create", "--from-json", json.dumps(sooner))
    assert done.returncode == 0, done.stdout + done.stderr
    endless = (
        "--training.epochs",
        "100000",
        "--training.patience",
        "100000",
        "--training.seeds",
        "1",
    )
    options = ("--ticker", "LOST", "--source.kind", "file", "--source.path", PRICES, *endless)
    log = site.folder / "lost.log"
    process = start(
        sys.executable,
        "-m",
        "flows.retrain",
        *options,
        environment=site.environment,
        cwd=CHECKOUT,
        log=log,
    )
    heartbeats = {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}}}

    def heard() -> list[str]:
        resources = [
            event["resource"] for event in site.ask("/events/filter", heartbeats)["events"]
        ]
        return [
            one["prefect.resource.id"]
            for one in resources
            if one["prefect.resource.name"] == "retrain-LOST"
        ]

    [heart] = wait_for(heard, "a heartbeat")
    process.kill()  # nobody is left to say that it has crashed
    assert site.ended(heart.removeprefix("prefect.flow-run."))["type"] == "CRASHED"
    assert _told(texts, "crashed").startswith("retrain/retrain-LOST crashed: no heartbeat")


def _told(texts: list[str], what: str) -> str:
    """The only text on this."""
    [text] = wait_for(
        lambda: [text for text in texts if f" {what}: " in text], f"a text on what has {what}"
    )
    return text


@contextmanager
def _webhook() -> Iterator[tuple[str, list[str]]]:
    """The address of a webhook on this machine, and the texts that it receives."""
    texts = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", texts
        server.shutdown()
