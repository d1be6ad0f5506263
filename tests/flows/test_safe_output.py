"""Nothing that a flow prints, logs or raises holds a password, or markup from elsewhere."""

import logging
import threading

import pytest
from rich.table import Table

from flows import command_line
from flows.steps.command_flow import without_secrets
from flows.tracking import runs
from rnn_core.errors import DataError, RnnflowError

SECRET = "s3same-0pen"
ADDRESS = f"http://me:{SECRET}@host:5000"
NAMES = (
    "[red]x[/red]",
    "[link=http://127.0.0.1:9]click[/link]",
    "[click]",
    "![x](http://127.0.0.1:9)",
    ":smile:",
    "[/]",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_printed_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(name, title=name)
    table.add_row(f"column {name}")
    command_line.show(table)
    command_line.say(name)
    printed = capsys.readouterr().out
    assert printed.count(name) == 4


def test_control_characters_and_passwords_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table("a\x1b[31m", title=f"b\x1b]8;;{ADDRESS}\x07")
    table.add_row(f"{ADDRESS}\r\x1b[2J")
    command_line.show(table)
    command_line.say(f"\x9b2J {ADDRESS}")
    with pytest.raises(SystemExit):
        command_line._exit(1, f"\x1b[2J {ADDRESS}")
    printed = "".join(capsys.readouterr())
    assert SECRET not in printed
    assert printed.count("http://me:***@host:5000") == 4
    assert not {character for character in printed if ord(character) < 32} - {"\n"}
    assert "\x9b" not in printed


def connect() -> None:
    raise ConnectionError(f"no answer from {ADDRESS}")


def failing(kind: type[Exception] = RuntimeError) -> None:
    try:
        connect()
    except ConnectionError as error:
        raise kind("cannot go on") from error


def test_the_traceback_of_an_error_that_nobody_expected_hides_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        failing()
    except RuntimeError as error:
        command_line._report(type(error), error, error.__traceback__)
    printed = capsys.readouterr().err
    assert "ConnectionError: no answer from http://me:***@host:5000" in printed
    assert "RuntimeError: cannot go on" in printed


def test_log_records_of_every_library_hide_them(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("some.library")
    logger.error("connecting to %s for %d s", ADDRESS, 5)
    try:
        failing()
    except RuntimeError:
        logger.exception("failed")
    logger.error("no argument for %s")
    assert "connecting to http://me:***@host:5000 for 5 s" in caplog.text
    assert "ConnectionError: no answer from http://me:***@host:5000" in caplog.text
    assert "no argument for %s" in caplog.text
    assert SECRET not in caplog.text


def test_errors_on_purpose_are_still_logged_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("prefect.flow_runs")
    caplog.handler.setFormatter(logging.Formatter("%(message)s"))
    try:
        failing(DataError)
    except DataError:
        with caplog.at_level("ERROR", "prefect.flow_runs"):
            logger.addHandler(caplog.handler)
            logger.exception("failed")
            logger.removeHandler(caplog.handler)
    assert "Traceback" not in caplog.text


def test_an_error_of_another_library_with_a_password_is_raised_as_one_of_ours() -> None:
    shown = r"^ConnectionError: no answer from http://me:\*\*\*@host:5000$"
    with pytest.raises(RnnflowError, match=shown) as hidden, without_secrets():
        connect()
    assert hidden.value.__suppress_context__
    with pytest.raises(OSError, match="no disk"), without_secrets():
        raise OSError("no disk")
    with pytest.raises(DataError, match="no prices"), without_secrets():
        raise DataError("no prices")


def test_the_command_that_opens_a_run_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "experiment_of", lambda run_id: "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{ADDRESS}/mlflow/")
    assert runs.how_to_open("abc") == "http://host:5000/mlflow/#/experiments/1/runs/abc"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://me:{SECRET}@host/mlflow")
    command = runs.how_to_open("abc")
    assert SECRET not in command
    assert '--backend-store-uri "$MLFLOW_TRACKING_URI"' in command
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert "--backend-store-uri sqlite:///mlflow.db" in runs.how_to_open("abc")


def test_a_thread_that_fails_hides_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            threading,
            "excepthook",
            lambda args: command_line._report(args.exc_type, args.exc_value),
        )
        thread = threading.Thread(target=failing)
        thread.start()
        thread.join()
    assert SECRET not in capsys.readouterr().err
