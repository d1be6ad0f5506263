"""The stack after a death, a power cut, or with strangers at its door."""

import os
import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.processes import CHECKOUT, processes, wait_for
from tests.stack_copy import Copy, copied

TIMES = int(os.environ.get("POWER_CUTS", "2"))
SMALL = {"training": {"epochs": 1, "seeds": 1}, "promotion": {"require_skill": True}}
NOW = "2013-03-01T22:00:00Z"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    folder = tmp_path_factory.mktemp("stack")
    (folder / "data").mkdir()
    (folder / "data/prices.csv").write_bytes((CHECKOUT / "tests/data/MSFT.csv").read_bytes())
    with copied(folder) as copy:
        yield copy


@pytest.mark.parametrize("cut", range(TIMES))
def test_after_a_power_cut_the_next_run_of_the_day_runs(copy: Copy, cut: int) -> None:
    copy.start_and_wait()
    lost = copy.run("retrain/daily", ticker="078935.KS")  # asks Yahoo, in vain, and again
    wait_for(lambda: _yahoo_slots_taken(copy) == 1, "the slot to be taken")
    assert copy.state(lost) == "RUNNING"
    copy.kill_everything()

    copy.start_and_wait()
    assert copy.state(lost) == "CRASHED"
    assert "was lost and is set to Crashed" in copy.said
    source = {"kind": "file", "path": "data/prices.csv", "exchange": "XNYS"}
    following = copy.run("retrain/daily", ticker=f"CUT{cut}", source=source, now=NOW, **SMALL)
    ends = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    wait_for(lambda: copy.state(following) in ends, "the next run", seconds=600)
    assert copy.state(following) == "COMPLETED"
    wait_for(lambda: _yahoo_slots_taken(copy) == 0, "the slot to come back", seconds=600)
    copy.kill_everything()


def test_a_program_that_dies_is_started_again(copy: Copy) -> None:
    stack = copy.start_and_wait()
    for words, name in (("flows.stack.prefect_server", "prefect"), ("worker start", "worker")):
        [pid] = [pid for pid, line in copy.programs().items() if words in line]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda name=name: f"{name} has ended (signal SIGKILL)" in copy.said, "the words")
        wait_for(
            lambda words=words, pid=pid: any(
                words in line for other, line in copy.programs().items() if other != pid
            ),
            "the program",
        )
    wait_for(lambda: _answers(copy.prefect), "the server")
    assert stack.poll() is None
    copy.kill_everything()


def test_what_a_killed_stack_has_left_is_ended_by_the_next(copy: Copy) -> None:
    stack = copy.start_and_wait()
    stack.kill()
    stack.wait()
    assert len(copy.programs()) >= 3
    left = set(copy.programs())
    stack = copy.start_and_wait()
    assert f"Ending {len(left)} processes that an earlier stack has left" in copy.said
    assert not left & set(copy.programs())
    stack.send_signal(signal.SIGTERM)
    assert stack.wait(90) == 0
    assert processes("PREFECT_HOME", copy.home) == {}


@pytest.mark.parametrize("header", ["Host", "Origin"])
def test_strangers_are_refused_by_both_servers(copy: Copy, header: str) -> None:
    if not _answers(copy.prefect):
        copy.start_and_wait()
    stranger = {"Host": "evil.example:4200", "Origin": "http://evil.example"}[header]
    requests = {
        copy.prefect: "/api/deployments/filter",
        copy.mlflow: "/api/2.0/mlflow/experiments/search",
    }
    for port, path in requests.items():
        url = f"http://127.0.0.1:{port}{path}"
        answer = httpx.post(url, json={"max_results": 1}, headers={header: stranger}, timeout=60)
        assert answer.status_code == httpx.codes.FORBIDDEN, answer.text
    own = f"http://127.0.0.1:{copy.prefect}"
    friend = httpx.get(f"{own}/api/health", headers={"Origin": own}, timeout=60)
    assert friend.is_success
    posted = httpx.post(f"{own}/api/deployments/filter", json={}, headers={"Origin": own})
    assert posted.status_code == httpx.codes.FORBIDDEN
    assert "CSRF" in posted.text


def test_a_password_is_asked_for_by_both_servers_and_given_by_the_stack(copy: Copy) -> None:
    copy.kill_everything()
    copy.start_and_wait("--auth")
    credentials = (copy.folder / "data/auth").read_text()
    password = tuple(credentials.split(":"))
    for path in (
        f"http://127.0.0.1:{copy.prefect}/api/deployments/name/retrain/adhoc",
        f"http://127.0.0.1:{copy.mlflow}/api/2.0/mlflow/experiments/search?max_results=1",
    ):
        assert httpx.get(path, timeout=60).status_code == httpx.codes.UNAUTHORIZED
        assert httpx.get(path, auth=("rnnflow", "wrong password"), timeout=60).is_client_error
    mlflow = f"http://127.0.0.1:{copy.mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    assert httpx.get(mlflow, auth=password, timeout=60).is_success
    assert credentials.partition(":")[2] not in copy.said

    copy.environment["PREFECT_API_AUTH_STRING"] = credentials
    source = {"kind": "file", "path": "data/prices.csv", "exchange": "XNYS"}
    run = copy.run("retrain/adhoc", ticker="DOOR", source=source, now=NOW, **SMALL)
    wait_for(lambda: copy.state(run) in {"COMPLETED", "FAILED", "CRASHED"}, "the run", seconds=600)
    assert copy.state(run) == "COMPLETED"
    copy.kill_everything()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health").is_success
    except httpx.TransportError:
        return False


def _yahoo_slots_taken(copy: Copy) -> int:
    with copy.client() as client:
        return client.read_global_concurrency_limit_by_name("yahoo").active_slots
