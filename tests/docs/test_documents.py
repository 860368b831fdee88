# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The documents: their blocks run, and what they name exists."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import document_blocks
import pytest
from document_blocks import DOCUMENTS, NEEDS, ROOT

from elmer_jax import configuration

_README = ROOT / "README.md"
_PAGES = [path for path in DOCUMENTS if path != _README]

_ids = {"ids": lambda path: str(path.relative_to(ROOT))}


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
  """README's example, run in a folder that looks like a clone."""
  folder = tmp_path_factory.mktemp("clone")
  environment = document_blocks.make_workspace(folder)
  for block in document_blocks.runnable(_README, "bash"):
    _run_shell(block, folder, environment)
  return folder, environment


def _run_shell(block, folder: Path, environment: dict) -> str:
  done = subprocess.run(
    ["bash", "-euo", "pipefail", "-c", block.code],
    cwd=folder,
    env=environment,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
  return done.stdout


def test_example_of_the_front_page_runs(workspace):
  folder, _ = workspace
  assert (folder / "runs" / "pairs" / "report" / "index.html").exists()


def test_python_blocks_run(workspace):
  folder, environment = workspace
  found = [b for path in DOCUMENTS for b in document_blocks.runnable(path, "python")]
  assert len(found) >= 4
  done = subprocess.run(
    [sys.executable, "-c", document_blocks.python_script(found)],
    cwd=folder,
    env=environment,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize(
  "path", [p for p in _PAGES if document_blocks.runnable(p, "bash")], **_ids
)
def test_shell_blocks_of_a_page_run(path, workspace):
  folder, environment = workspace
  for block in document_blocks.runnable(path, "bash"):
    _run_shell(block, folder, environment)


@pytest.mark.parametrize("path", DOCUMENTS, **_ids)
def test_markers_are_known(path):
  text = path.read_text(encoding="utf-8")
  needs = [block.needs for block in document_blocks.blocks(path) if block.needs]
  assert set(needs) <= set(NEEDS)
  assert len(needs) == len(re.findall(r"^<!-- test:", text, re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, **_ids)
def test_links_lead_somewhere(path):
  text = path.read_text(encoding="utf-8")
  for target in re.findall(r"\]\(([^)\s]+)\)", text):
    if "://" in target:
      continue
    name, _, anchor = target.partition("#")
    file = (path.parent / name).resolve() if name else path
    assert file.exists(), target
    if anchor:
      assert anchor in _anchors(file), target


def _anchors(path: Path) -> set[str]:
  """Returns the anchors that GitHub gives the headings of a document."""
  text = path.read_text(encoding="utf-8")
  headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
  return {re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("path", DOCUMENTS, **_ids)
def test_named_files_exist(path):
  text = path.read_text(encoding="utf-8")
  roots = "elmer_jax|configs|benchmarks|launch|tests|docs"
  for name in re.findall(rf"(?<![\w/.-])((?:{roots})/[\w./*-]*)", text):
    name = name.rstrip(".")
    assert list(ROOT.glob(name)), f"{name} does not exist"
  # In the map and the decisions, modules are named from the package.
  for name in re.findall(r"`([\w/]+\.(?:py|sh|ipynb))`", text):
    found = [file for folder in roots.split("|") for file in _under(folder, name)]
    assert found or (ROOT / name).exists(), f"{name} does not exist"


def _under(folder: str, name: str) -> list[Path]:
  return list((ROOT / folder).rglob(name))


@pytest.mark.parametrize("path", DOCUMENTS, **_ids)
def test_named_keys_exist(path):
  known = {*configuration.flat_keys(configuration.default())}
  known |= {*configuration.flat_keys(configuration.comparison())}
  sections = {key.rpartition(".")[0] for key in known if "." in key}
  text = path.read_text(encoding="utf-8")
  named = re.findall(r"--config\.([a-z][\w.]*\w)", text)
  prefixes = "|".join(configuration.default().keys())
  named += re.findall(rf"`((?:{prefixes})\.[a-z_.]*[a-z])(?:=[^`]*)?`", text)
  named = [key for key in named if key != "model.safetensors"]  # a file
  for key in named:
    assert key in known | sections, f"{key} is not a key of the configuration"


@pytest.mark.parametrize("path", DOCUMENTS, **_ids)
def test_named_commands_exist(path):
  text = path.read_text(encoding="utf-8")
  named = re.findall(r"python -m (elmer_jax[\w.]*)", text)
  named += [f"elmer_jax.{name}" for name in re.findall(r"[`$ ]elmer ([a-z]+)", text)]
  for name in named:
    assert importlib.util.find_spec(name), f"{name} is not a command"


def test_configurations_are_named_as_they_are():
  known = {path.stem for path in (ROOT / "configs").glob("*.py")}
  for path in DOCUMENTS:
    for name in re.findall(r"--config=(\w+)\b(?!/)", path.read_text(encoding="utf-8")):
      assert name in known | {"CONFIG", "NAME"}, f"{path.name}: {name}"
