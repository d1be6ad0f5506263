"""Every lesson as a deployment, by the engine written by hand, and from the shell, by torch."""

import sys
from concurrent.futures import ThreadPoolExecutor
from subprocess import CompletedProcess

import pytest

from rnn_core.studies import STUDIES
from tests.e2e.prefect_site import Site
from tests.processes import run, wait_for

QUICK = {"size": 0.05, "training": {"epochs": 2}}
BOTH = "engines-agree"
FEW = ["direction-from-scratch", BOTH]
OTHERS = [name for name in STUDIES if name not in FEW]
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def ended(site: Site, flow_run: str, name: str) -> str:
    """The state that a flow run ends in."""
    return wait_for(lambda: site.state(flow_run) in ENDS and site.state(flow_run), name, 300)


some_then_the_others = pytest.mark.parametrize(
    "names",
    [pytest.param(FEW, id="some"), pytest.param(OTHERS, id="the others", marks=pytest.mark.long)],
)


@some_then_the_others
def test_every_study_runs_as_a_deployment(site: Site, names: list[str]) -> None:
    first, *rest = names
    by_hand, done = site.ad_hoc("study", name=first, size="0.05", training=QUICK["training"])
    assert done.returncode == 0, done.stdout + done.stderr
    deployment = site.ask("/deployments/name/study/adhoc")["id"]
    flow_runs = {
        name: site.ask(
            f"/deployments/{deployment}/create_flow_run", {"parameters": QUICK | {"name": name}}
        )["id"]
        for name in rest
    } | {first: by_hand}
    for name, flow_run in flow_runs.items():
        assert ended(site, flow_run, name) == "COMPLETED", name
        tracked = site.tracked(flow_run)
        assert tracked is not None
        assert tracked.info.status == "FINISHED"
        assert tracked.data.tags["study"] == name
        assert tracked.data.tags["engine"] == ("numpy, torch" if name == BOTH else "numpy")


@some_then_the_others
def test_every_study_runs_from_the_shell_by_torch(site: Site, names: list[str]) -> None:
    def shell(name: str) -> "CompletedProcess[str]":
        engine = () if name == BOTH else ("--training.engine", "torch")
        options = ("--name", name, "--size", "0.05", "--training.epochs", "2", *engine)
        environment = site.environment | {
            "OMP_NUM_THREADS": "1"
        }  # else torch takes every core from other tests
        return run(
            sys.executable, "-m", "flows.study", *options, environment=environment, cwd=site.folder
        )

    with ThreadPoolExecutor(2) as pool:
        for name, done in zip(names, pool.map(shell, names), strict=True):
            assert done.returncode == 0, name + done.stdout + done.stderr
            assert done.stdout.splitlines()[-1].startswith("MLflow: "), name
            assert "test/" in done.stdout, name
