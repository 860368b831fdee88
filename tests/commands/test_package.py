# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The wheel: it has the configurations, the type marker and the console script."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("elmer_jax", "configs", "pyproject.toml", "setup.py", "requirements.txt")


@pytest.mark.slow  # pip may have to download setuptools
def test_the_wheel_is_complete(tmp_path):
  source = tmp_path / "source"
  for name in (*PARTS, "README.md", "LICENSE"):
    copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
    source.mkdir(exist_ok=True)
    copy(ROOT / name, source / name)
  command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w"]
  subprocess.run([*command, str(tmp_path), str(source)], check=True)
  [wheel] = tmp_path.glob("*.whl")
  with zipfile.ZipFile(wheel) as archive:
    names = set(archive.namelist())
    [entry_points] = [name for name in names if name.endswith("entry_points.txt")]
    assert b"elmer = elmer_jax.__main__:main" in archive.read(entry_points)
  for folder, inside in (("elmer_jax", "elmer_jax"), ("configs", "elmer_jax/configs")):
    for path in (ROOT / folder).rglob("*"):
      if path.suffix in (".py", ".css", ".typed"):
        assert f"{inside}/{path.relative_to(ROOT / folder)}" in names
