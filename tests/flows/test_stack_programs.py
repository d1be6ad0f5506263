"""Programs that die quickly, again and again; and doors with and without a password."""

import stat
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from flows.stack import doors, healing, programs
from flows.stack.programs import Programs
from rnn_core.errors import StackError


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(programs, "BETWEEN_LOOKS", 0.01)
    monkeypatch.setenv(programs.MARK, str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_five_quick_deaths_end_with_the_last_lines_of_the_log(tmp_path: Path) -> None:
    said: list[str] = []
    running = Programs(tmp_path, said.append)
    running.start("doomed", "no_such_module_anywhere")
    with pytest.raises(StackError) as ended:
        running.keep_alive_until(lambda: False)
    assert "doomed has ended (exit code 1), 5 times in a row" in str(ended.value)
    assert "No module named no_such_module_anywhere" in str(ended.value)
    assert len(said) == 4
    for line, delay in zip(said, (0.01, 0.02, 0.04, 0.08), strict=True):
        assert f"doomed has ended (exit code 1); starting it again in {delay:g} s" in line
    running.stop()


def test_a_death_after_a_long_life_is_not_counted_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "QUICK_SECONDS", 0.0)
    said: list[str] = []
    running = Programs(tmp_path, said.append)
    running.start("mortal", "no_such_module_anywhere")
    running.keep_alive_until(lambda: len(said) >= 7)
    assert {line.partition(" in ")[2].partition(" s ")[0] for line in said} == {"0.01"}
    running.stop()


def test_a_program_that_runs_to_its_end_must_end_well(tmp_path: Path) -> None:
    running = Programs(tmp_path, print)
    running.run("well", "this")
    with pytest.raises(StackError, match="badly has ended") as ended:
        running.run("badly", "no_such_module_anywhere")
    assert "in a row" not in str(ended.value)


def test_a_made_up_password_is_kept_for_its_owner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(doors.CREDENTIALS, raising=False)
    variables = doors.passwords()
    assert doors.passwords()["PREFECT_API_AUTH_STRING"] == variables["PREFECT_API_AUTH_STRING"]
    user, _, password = variables["PREFECT_SERVER_API_AUTH_STRING"].partition(":")
    assert (user, len(password) >= doors.SHORTEST_PASSWORD) == ("rnnflow", True)
    assert variables["MLFLOW_TRACKING_PASSWORD"] == password
    for file in (doors.KEPT, doors.MLFLOW_CONFIG):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert password in file.read_text()


@pytest.mark.parametrize(
    "credentials", ["short:secret", "no-colon-but-long-enough", ":nobody-at-all"]
)
def test_a_password_that_cannot_be_used_is_refused_and_not_shown(
    credentials: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(doors.CREDENTIALS, credentials)
    with pytest.raises(StackError, match="RNNFLOW_AUTH must be user:password") as refused:
        doors.passwords()
    assert credentials.strip(":") not in str(refused.value)


def test_a_shell_is_told_where_the_password_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(doors.CREDENTIALS, raising=False)
    assert doors.where_credentials_are() == "$(cat data/auth)"
    monkeypatch.setenv(doors.CREDENTIALS, "me:a-password-of-mine")
    assert doors.where_credentials_are() == "$RNNFLOW_AUTH"


def test_all_lost_runs_are_crashed_however_many_the_server_lists_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = [SimpleNamespace(id=uuid4(), name=f"run-{number}") for number in range(5)]
    at_work = left[2]
    closed: list[str] = []
    said: list[str] = []

    def end(run_id: UUID, _: object, *, force: bool) -> None:
        assert force
        left.remove(next(run for run in left if run.id == run_id))

    client = SimpleNamespace(set_flow_run_state=end)
    monkeypatch.setattr(healing, "_others_are_at_work", lambda _: False)
    monkeypatch.setattr(healing, "_flow_runs_at_work", lambda: [str(at_work.id)])
    monkeypatch.setattr(healing, "_begun", lambda _: left[:3])
    monkeypatch.setattr(
        healing.unfinished, "close_runs_of", lambda run_id, *_: closed.append(run_id)
    )
    healing.crash_lost_runs(client, said.append)  # type: ignore[arg-type]
    assert left == [at_work]
    assert len(closed) == len(said) == 4


def test_what_a_user_has_opened_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RNNFLOW_ORIGINS", raising=False)
    assert doors.addresses(4200, 5000)["RNNFLOW_ORIGINS"].startswith("http://127.0.0.1:4200,")
    monkeypatch.setenv("RNNFLOW_ORIGINS", "https://prefect.example.com")
    monkeypatch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", "mlflow.example.com")
    variables = doors.addresses(4200, 5000)
    assert variables["RNNFLOW_ORIGINS"] == "https://prefect.example.com"
    assert variables["MLFLOW_SERVER_ALLOWED_HOSTS"] == "mlflow.example.com"
