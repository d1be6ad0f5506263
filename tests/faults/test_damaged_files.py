"""Damaged files of a champion: each is told in one line, and a retrain or a rollback mends it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows import rollback
from flows.tracking import files, integrity, registry, serving
from rnn_core.data import calendars
from rnn_core.errors import ChampionDamaged, FileDamaged
from rnn_core.operations.ledger import Ledger
from tests.faults.training import DAYS, TICKER, retrain


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def replace_by_another(file: Path) -> None:
    others = [path for path in file.parent.iterdir() if path.is_file() and path != file]
    content = others[0].read_bytes() if others else b"another"
    file.write_bytes(content if content != file.read_bytes() else b"another")


DAMAGES = (flip_a_bit, truncate, empty, Path.unlink, replace_by_another)
Damage = Callable[[Path], None]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which two versions have become champion, the second after the first."""
    folder = tmp_path_factory.mktemp("damaged")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("LEDGER_URL", f"sqlite:///{folder}/ledger.db")
        patch.setattr(rollback, "announce", lambda *_: None)
        for day in DAYS[:2]:
            retrain(day)
        yield folder


def files_of(version: int) -> tuple[str, Path, Path]:
    """The run that trained a version, the folder of its files, and that of its model."""
    client = MlflowClient()
    run_id = registry.run_of(TICKER, version)
    source = client.get_model_version(f"direction-{TICKER}", str(version)).source
    model = client.get_logged_model(source.rpartition("/")[2]).artifact_location
    run = client.get_run(run_id).info.artifact_uri
    return run_id, *(Path(uri.removeprefix("file://")) for uri in (run, model))


def manifest_of(version: int) -> str:
    """The SHA-256 of the manifest of a version's files."""
    tags = MlflowClient().get_model_version(f"direction-{TICKER}", str(version)).tags
    return str(tags[integrity.MANIFEST_TAG])


@pytest.fixture
def champion(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """The files of version 2, which are put back after the test."""
    run_id, run, model = files_of(2)
    for name, kept in (("run", run), ("model", model)):
        shutil.copytree(kept, folder / "kept" / name)
    yield run_id, run, model
    for name, kept in (("run", run), ("model", model)):
        shutil.copytree(folder / "kept" / name, kept, dirs_exist_ok=True)
    shutil.rmtree(folder / "kept")


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_file_of_the_model_is_checked(
    champion: tuple[str, Path, Path], damage: Damage
) -> None:
    run_id, _, model = champion
    manifest = manifest_of(2)
    whole = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    named = [path for path in whole if path.name != "registered_model_meta"]  # MLflow's own
    assert len(named) > 20
    for file in named:
        name = file.relative_to(model).as_posix()
        damage(file)
        assert integrity.damage(model, manifest).startswith(f"{name} ")
        if name in ("MLmodel", "artifacts/arrays.npz", integrity.MANIFEST):
            with pytest.raises(ChampionDamaged) as caught:
                serving.refuse_unusable(TICKER, 2, run_id)
            line = str(caught.value)
            assert line.startswith(f"the champion of {TICKER} is damaged: in version 2 {name} ")
            assert "; retrain it, or roll back" in line
            assert "\n" not in line
        file.write_bytes(whole[file])
    serving.refuse_unusable(TICKER, 2, run_id)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_configuration_and_the_calls_are_checked(
    champion: tuple[str, Path, Path], damage: Damage
) -> None:
    run_id, run, _ = champion
    for name in (files.CONFIG, files.VERSIONS, files.CALLS):
        damage(run / name)
        with pytest.raises(FileDamaged, match=f"{name} of run {run_id} cannot be read") as caught:
            files.text(MlflowClient().get_run(run_id), name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ChampionDamaged, match=r"is damaged: config\.json .*; retrain it, or roll"):
        serving.refuse_unusable(TICKER, 2, run_id)


def test_a_damaged_champion_is_left_by_a_rollback_and_replaced_by_a_retrain(
    champion: tuple[str, Path, Path],
) -> None:
    _, _, model = champion
    with Ledger.open() as ledger:
        flip_a_bit(model / "artifacts" / "arrays.npz")
        assert rollback.roll_back(TICKER, DAYS[1]) == 1
        with pytest.raises(ChampionDamaged, match=r"version 2 artifacts/arrays\.npz has changed"):
            rollback.roll_back(TICKER, DAYS[1], to=2)
        assert ledger.champions(TICKER) == [1]
        flip_a_bit(files_of(1)[1] / files.CONFIG)
        judgement = retrain(DAYS[0]).judgement  # on the very prices that version 1 has learned from
        assert judgement is not None
        assert judgement.promoted
        assert "version 1 is damaged" in judgement.reason
        assert ledger.champions(TICKER) == [1, 3]


def test_a_whole_model_passes_and_files_that_the_manifest_does_not_name_do_not_count(
    champion: tuple[str, Path, Path],
) -> None:
    _, _, model = champion
    added = model / "added"
    added.write_text("by MLflow")
    assert integrity.damage(model, manifest_of(2)) == ""
    added.unlink()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_calendar_is_built_again(
    damage: Damage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calendars, "KEPT", tmp_path)
    calendars.hours.cache_clear()
    whole = calendars.hours("XNYS")
    file = next(calendars.KEPT.glob("XNYS-*.parquet"))
    calendars.hours.cache_clear()
    damage(file)
    assert calendars.hours("XNYS").equals(whole)
    calendars.hours.cache_clear()
    assert calendars._read(file) is not None, "and kept again"
