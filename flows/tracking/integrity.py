"""Hashes of files that are read again later: those of a registered model, and of a run."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

MANIFEST = "manifest.json"  # of a model's folder: the SHA-256 of each other file, by its path
MANIFEST_TAG = "manifest.sha256"  # of a registered version


def sha256_of(content: bytes) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    return hashlib.sha256(content).hexdigest()


def write_manifest(folder: Path) -> str:
    """Write the SHA-256 of every file of the folder into its manifest; return that of the manifest.

    A folder whose copy was interrupted has no manifest, or lacks files that it names.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path.read_bytes()) for path in files}
    content = json.dumps(hashes, indent=1).encode()
    (folder / MANIFEST).write_bytes(content)
    return sha256_of(content)


def damage(folder: Path, manifest_sha256: str) -> str:
    """Return which file of a model's folder is missing or has changed; nothing if none has.

    Files that the manifest does not name do not count: MLflow adds some.
    """
    manifest = folder / MANIFEST
    if changed := _changed(folder, {MANIFEST: manifest_sha256}):
        return changed
    return _changed(folder, json.loads(manifest.read_bytes()))


def _changed(folder: Path, hashes: Mapping[str, str]) -> str:
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256_of(path.read_bytes()) != expected:
            return f"{name} has changed since it was written"
    return ""
