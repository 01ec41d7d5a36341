"""Packages that bring a behaviour, as an installer leaves them."""

from __future__ import annotations

from pathlib import Path


def install_behaviour(directory: Path, name: str, source: str) -> str:
    """Leave a package in a new directory, whose module `name` has the behaviour of that name; for PYTHONPATH."""
    directory.mkdir()
    (directory / f"{name}.py").write_text(source)
    metadata = directory / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[relay.behaviours]\n{name} = {name}:{name.capitalize()}\n")
    return str(directory)
