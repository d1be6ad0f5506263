"""A copy of a database is kept before a newer program changes its tables."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.store.db.utils import _get_latest_schema_revision

from flows.tracking import copies
from flows.tracking.copies import Program, is_older, keep_copy, revisions
from rnn_core.errors import TrackingError


def made(file: Path, revision: str | None) -> Path:
    """A database with a row of its own, as a program at this revision leaves it."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE runs (name TEXT)")
        database.execute("INSERT INTO runs VALUES ('kept')")
        if revision:
            database.execute("CREATE TABLE alembic_version (version_num TEXT)")
            database.execute("INSERT INTO alembic_version VALUES (?)", [revision])
    return file


@pytest.fixture(params=["mlflow", "prefect"])
def program(request: pytest.FixtureRequest) -> Program:
    name: Program = request.param
    return name


def test_an_older_database_is_copied_once_and_left_as_it_is(
    tmp_path: Path, program: Program
) -> None:
    known, latest = revisions(program)
    older = next(iter(known - {latest}))
    database = made(tmp_path / "some.db", older)
    before = database.read_bytes()
    assert is_older(database, program)
    copy = keep_copy(database, program)
    assert copy.name == f"some.db.before-{program}-{copies.version(program)}"
    assert copies.revision_of(copy) == older
    with closing(sqlite3.connect(copy)) as opened:
        assert opened.execute("SELECT name FROM runs").fetchall() == [("kept",)]
    assert database.read_bytes() == before
    stamp = copy.stat().st_mtime_ns
    assert keep_copy(database, program) == copy
    assert copy.stat().st_mtime_ns == stamp
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some.db", copy.name]


def test_what_is_new_or_up_to_date_is_left_alone(tmp_path: Path, program: Program) -> None:
    _, latest = revisions(program)
    assert not is_older(tmp_path / "absent.db", program)
    assert not is_older(made(tmp_path / "new.db", None), program)
    assert not is_older(made(tmp_path / "current.db", latest), program)
    (tmp_path / "text.db").write_text("no database")
    assert not is_older(tmp_path / "text.db", program)


def test_a_database_of_a_newer_release_is_refused_in_one_line(
    tmp_path: Path, program: Program
) -> None:
    database = made(tmp_path / "some.db", "ffffffffffff")
    with pytest.raises(TrackingError, match=f"was changed by a newer {program} than ") as refused:
        is_older(database, program)
    assert "\n" not in str(refused.value)


def test_an_interrupted_copy_is_made_again(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, latest = revisions(program)
    database = made(tmp_path / "some.db", min(known - {latest}))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            keep_copy(database, program)
    copy = keep_copy(database, program)
    assert copies.revision_of(copy) is not None


def test_a_database_that_cannot_be_copied_is_not_changed(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, latest = revisions(program)
    database = made(tmp_path / "some.db", min(known - {latest}))
    before = database.read_bytes()
    database.with_name(f"some.db.before-{program}-{copies.version(program)}.unfinished").mkdir()
    with pytest.raises(TrackingError, match=r"some.db cannot be copied to .*\(") as refused:
        keep_copy(database, program)
    assert "\n" not in str(refused.value)
    assert database.read_bytes() == before


def test_the_latest_revision_of_mlflow_is_the_one_that_it_names() -> None:
    assert revisions("mlflow")[1] == _get_latest_schema_revision()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
