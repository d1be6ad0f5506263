"""Files of arrays that are damaged or forged: refused in one line, or loaded with the same bits."""

import io
import json
import os
import random
import re
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnn_core.errors import ArrayError, DataError
from rnn_core.nn import checkpoints, npz
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.nn.settings import Model, Training
from rnn_core.nn.training import Checkpoint, Fit, fit

TIMES = int(os.environ.get("RNNFLOW_DAMAGES", "300"))  # damages of each kind
TERABYTE = 2**40


@pytest.fixture(scope="module")
def fitted() -> Fit:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4, 2))
    built = Sequences(x, (x[:, -1:, :1] > 0).astype(float), np.ones((30, 1), bool))
    training = Training(epochs=3, seeds=2, patience=2)
    return fit(Model(cell="gru", hidden_size=3, num_layers=2), training, built, holdout(20, 10, 0))


@pytest.fixture
def file(fitted: Fit, tmp_path: Path) -> Path:
    path = tmp_path / "arrays.npz"
    checkpoints.save(fitted, path)
    return path


def arrays_of(path: Path) -> dict[str, Array]:
    with np.load(path) as found:
        return {name: found[name] for name in found.files}


def same(fit: Fit, other: Fit) -> bool:
    arrays, others = checkpoints.arrays_of(fit), checkpoints.arrays_of(other)
    settings = asdict(fit.model) == asdict(other.model)
    return (
        settings
        and asdict(fit.training) == asdict(other.training)
        and arrays.keys() == others.keys()
        and all(value.tobytes() == others[name].tobytes() for name, value in arrays.items())
        and all(value.dtype == others[name].dtype for name, value in arrays.items())
    )


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut_short(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def with_a_hole(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    size = rng.randrange(1, 600)
    return content[:start] + bytes(len(content[start : start + size])) + content[start + size :]


def with_a_piece_twice(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start : start + rng.randrange(1, 400)] + content[start:]


@pytest.mark.parametrize("damage", [flipped, cut_short, with_a_hole, with_a_piece_twice])
def test_a_damaged_file_is_refused_or_gives_the_same_bits(
    damage: Callable[[bytes, random.Random], bytes], fitted: Fit, file: Path
) -> None:
    content = file.read_bytes()
    rng = random.Random(damage.__name__)
    refusals = []
    for _ in range(TIMES):
        file.write_bytes(damage(content, rng))
        try:
            loaded = checkpoints.load(file)
        except (ArrayError, DataError) as error:
            refusals.append(str(error))
        else:
            assert same(loaded, fitted)
    assert len(refusals) > TIMES / 2
    assert all(refusal.startswith(str(file)) for refusal in refusals)
    assert all(len(refusal.splitlines()) == 1 for refusal in refusals)


@pytest.mark.parametrize("damage", [flipped, cut_short])
def test_a_damaged_checkpoint_is_refused_or_gives_the_same_bits(
    damage: Callable[[bytes, random.Random], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.npz"
    arrays = {"engine/params": np.ones((2, 3), "float32"), "history/best": np.array([np.nan, 1])}
    streams = {"order": [np.random.default_rng(7).bit_generator.state]}
    checkpoints.save_checkpoint(Checkpoint(4, arrays, streams), path)
    content = path.read_bytes()
    rng = random.Random(damage.__name__)
    refusals = []
    for _ in range(TIMES):
        path.write_bytes(damage(content, rng))
        try:
            loaded = checkpoints.load_checkpoint(path)
        except (ArrayError, DataError) as error:
            refusals.append(str(error))
        else:
            assert (loaded.epoch, loaded.streams) == (4, streams)
            for name, value in arrays.items():
                assert loaded.arrays[name].tobytes() == value.tobytes()
    assert len(refusals) > TIMES / 2
    assert all(len(refusal.splitlines()) == 1 for refusal in refusals)


def forge(path: Path, name: str, content: bytes, **options: Any) -> None:
    """Replace one array of the file, whose other arrays and checksums stay right."""
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    parts[f"{name}.npy"] = content
    with zipfile.ZipFile(path, "w", **options) as archive:
        for part, value in parts.items():
            archive.writestr(part, value)


def header(shape: object, descr: str = "<f8", fortran: bool = False) -> bytes:
    """Return the start of an array's file that claims this shape and type."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    padded = text + " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode()


@pytest.mark.parametrize(
    ("shape", "descr", "message"),
    [
        ((TERABYTE,), "<f8", "its header claims 8,796,093,022,208 bytes and it holds 48"),
        ((TERABYTE, TERABYTE, TERABYTE), "<f8", "its header claims"),
        ((-1, 2), "<f8", "it has the shape (-1, 2)"),
        ((-2, -3), "<f8", "it has the shape (-2, -3)"),
        ((2, 2), "|O", "it holds something else than numbers"),
        ((2,), [("a", "<f8")], "it holds something else than numbers"),
        ((3, 2), "<f4", "claims 24 bytes and it holds 48"),
        ((6,), "<f8", "'center' is missing, or has not two axes"),
        ((2, 3), "<f8", "'scale' is float64 of shape (2, 2); float64 of shape (2, 3) is expected"),
        ((3, 2), "<f8", "it has 3 models, no multiple of 2 seeds"),
        ((2, 3), ">f8", "array 'center' is >f8 of shape (2, 3)"),
        ((), "<U12", "'center' is missing, or has not two axes"),
        ("(9**9**9,)", "<f8", "array 'center'"),
        ("'x'", "<f8", "array 'center'"),
    ],
)  # fmt: skip
def test_what_a_header_claims_is_not_believed(
    shape: object, descr: Any, message: str, file: Path
) -> None:
    forge(file, "center", header(shape, descr) + bytes(48))
    with pytest.raises(ArrayError) as refused:
        checkpoints.load(file)
    assert str(refused.value).startswith(f"{file} is damaged: ")
    assert message in str(refused.value)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(file: Path, tmp_path: Path) -> None:
    size = 50_000_000
    forge(file, "center", header((size // 8,)) + bytes(size), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ArrayError, match=r"its arrays claim 50,0.* bytes; at most"):
        checkpoints.load(file)
    days = tmp_path / "sessions.npz"
    np.savez_compressed(days, sessions=np.zeros(size, "datetime64[D]"))
    with pytest.raises(ArrayError, match="at most 1,000 are expected"):
        npz.entries(days, largest=1000)


def changed(**arrays: Any) -> Callable[[dict[str, Array]], dict[str, Array]]:
    return lambda found: found | arrays


def with_header(**changes: Any) -> Callable[[dict[str, Array]], dict[str, Array]]:
    def change(found: dict[str, Array]) -> dict[str, Array]:
        settings = json.loads(str(found["header"]))
        for path, value in changes.items():
            section, _, field = path.partition("__")
            settings[section][field] = value
        return found | {"header": np.array(json.dumps(settings))}

    return change


def spoilt(name: str, value: float) -> Callable[[dict[str, Array]], dict[str, Array]]:
    def change(found: dict[str, Array]) -> dict[str, Array]:
        array = found[name].copy()
        array.flat[-1] = value
        return found | {name: array}

    return change


WEIGHT = "params.weight_hh_l1"
FORGED: dict[str, tuple[Callable[[dict[str, Array]], dict[str, Array]], str]] = {
    "NaN in a weight": (spoilt(WEIGHT, np.nan), f"array '{WEIGHT}' has NaN or infinite values"),
    "infinity in a weight": (spoilt(WEIGHT, np.inf), f"'{WEIGHT}' has NaN or infinite values"),
    "NaN in the means": (spoilt("center", np.nan), "'center' has NaN or infinite values"),
    "NaN in the base rate": (spoilt("base_rate", np.nan), "'base_rate' has NaN or infinite"),
    "a scale of zero": (spoilt("scale", 0), "'scale' has values of zero or less"),
    "a negative scale": (spoilt("scale", -1), "'scale' has values of zero or less"),
    "another type": (
        lambda found: found | {WEIGHT: found[WEIGHT].astype("float32")},
        f"array '{WEIGHT}' is float32 of shape (2, 9, 3); float64 of shape (2, 9, 3) is expected",
    ),
    "another byte order": (
        lambda found: found | {WEIGHT: found[WEIGHT].astype(">f8")},
        f"array '{WEIGHT}' is >f8 of shape",
    ),
    "a transposed weight": (
        lambda found: found | {WEIGHT: found[WEIGHT].swapaxes(1, 2)},
        f"array '{WEIGHT}' is float64 of shape (2, 3, 9); float64 of shape (2, 9, 3) is expected",
    ),
    "one model less": (
        lambda found: found | {WEIGHT: found[WEIGHT][:1]}, "of shape (1, 9, 3); float64",
    ),
    "a missing weight": (
        lambda found: {name: value for name, value in found.items() if name != WEIGHT},
        f"array '{WEIGHT}' is missing",
    ),
    "no header": (
        lambda found: {name: value for name, value in found.items() if name != "header"},
        "array 'header' is missing",
    ),
    "one more array": (changed(more=np.ones(3)), "array 'more' does not belong there"),
    "a header that is no text": (changed(header=np.ones(1)), "'header' is missing or no text"),
    "a header that is no JSON": (changed(header=np.array("{")), "array 'header' is no JSON"),
    "a header of another kind": (changed(header=np.array("[1]")), "array 'header' is no JSON"),
    "an unknown cell": (with_header(model__cell="elman"), "another kind of model.cell"),
    "a size that is text": (with_header(model__hidden_size="3"), "another kind of model.hidden_"),
    "a size of true": (with_header(model__num_layers=True), "another kind of model.num_layers"),
    "a billion layers": (with_header(model__num_layers=10**9), "more layers than there are arrays"),
    "a huge width": (with_header(model__hidden_size=10**12), "is expected"),
    "another width": (with_header(model__hidden_size=4), "is expected"),
    "no unit": (with_header(model__hidden_size=0), "no hidden unit"),
    "an unknown setting": (with_header(training__speed=9), "no training, or one of another"),
    "other epochs": (with_header(training__epochs=10**12), "array 'train_loss' is float64 of"),
    "other seeds": (with_header(training__seeds=5), "2 models, no multiple of 5 seeds"),
    "no seeds": (with_header(training__seeds=0), "2 models, no multiple of 0 seeds"),
    "an unknown type": (with_header(training__dtype="float16"), "another kind of training.dtype"),
    "NaN as a rate": (with_header(training__shrinkage=float("nan")), "kind of training.shrinkage"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_file_is_refused_by_the_name_of_the_file_and_the_array(
    case: str, file: Path
) -> None:
    change, message = FORGED[case]
    np.savez(file, **change(arrays_of(file)))
    with pytest.raises(ArrayError, match=re.escape(message)) as refused:
        checkpoints.load(file)
    assert str(refused.value).startswith(f"{file} is damaged: ")
    assert len(str(refused.value).splitlines()) == 1


def test_an_object_is_never_made(file: Path) -> None:
    """The object would write a file if it were."""
    made = file.with_name("made")

    class Harmless:
        def __reduce__(self) -> Any:
            return Path.touch, (made,)

    content = io.BytesIO()
    np.save(content, np.array([Harmless()], dtype=object), allow_pickle=True)
    forge(file, "center", content.getvalue())
    with pytest.raises(ArrayError, match="array 'center': it holds something else than numbers"):
        checkpoints.load(file)
    assert not made.exists()


def test_what_is_no_file_of_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    for content in (b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", bytes(range(256)) * 40):
        path.write_bytes(content)
        with pytest.raises(ArrayError, match="is damaged: "):
            checkpoints.load(path)
    path.unlink()
    with pytest.raises(ArrayError, match=r"is damaged: .*No such file"):
        checkpoints.load(path)


def test_two_arrays_of_one_name_are_refused(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("center.npy", archive.read("scale.npy"))
    with pytest.raises(ArrayError, match="two arrays of one name"):
        checkpoints.load(file)


def test_an_array_in_another_format_of_numpys_is_refused(file: Path) -> None:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.ones((2, 2)), version=(2, 0))
    forge(file, "center", content.getvalue())
    with pytest.raises(ArrayError, match=r"'center': it has the format \(2, 0\); \(1, 0\) is"):
        checkpoints.load(file)


@pytest.mark.parametrize("by", [-1, 1])
def test_a_part_that_is_not_as_long_as_it_says_is_refused(by: int, file: Path) -> None:
    """Only the directory at the end of the file claims another size."""
    content = bytearray(file.read_bytes())
    entry = content.index(b"PK\x01\x02")
    size = int.from_bytes(content[entry + 24 : entry + 28], "little")
    content[entry + 24 : entry + 28] = (size + by).to_bytes(4, "little")
    file.write_bytes(content)
    with pytest.raises(ArrayError, match="is damaged: ") as refused:
        npz.entries(file, largest=2**20)
    assert by < 0 or "is not as long as it says" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": -1}, "its header has no epoch or no streams"),
        ({"epoch": "4"}, "its header has no epoch or no streams"),
        ({"streams": {"order": 1}}, "its header has no epoch or no streams"),
        ({"arrays": ["other"]}, "it has not the arrays that its header names"),
    ],
)
def test_a_forged_checkpoint_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.npz"
    checkpoints.save_checkpoint(Checkpoint(4, {"engine/params": np.ones(2)}, {}), path)
    arrays = arrays_of(path)
    written = json.loads(str(arrays["header"])) | changes
    np.savez(path, **arrays | {"header": np.array(json.dumps(written))})
    with pytest.raises(ArrayError, match=re.escape(message)):
        checkpoints.load_checkpoint(path)


def test_a_header_that_is_no_json_is_refused(file: Path) -> None:
    np.savez(file, **arrays_of(file) | {"header": np.array("{")})
    with pytest.raises(ArrayError, match="array 'header' is no JSON of a header"):
        checkpoints.load(file)
