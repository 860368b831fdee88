# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The commands as a user starts them: one line for a mistake, and no TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Stands in for a machine without them.
BLOCKER = """
import sys
for name in ('tensorflow', 'tensorflow_datasets', 'tensorflow_text', 'seqio'):
  sys.modules[name] = None  # importing it raises ModuleNotFoundError
"""


def python(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
  environment = os.environ | {"XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
  return subprocess.run(
    [sys.executable, *arguments],
    input=stdin,
    capture_output=True,
    text=True,
    cwd=ROOT,
    env=environment,
    timeout=300,
  )


def command(name: str, *arguments: str) -> subprocess.CompletedProcess:
  return python("-m", f"elmer_jax.{name}", *arguments)


QUICKSTART = "--config=configs/quickstart.py"
COMPARE = "--config=configs/compare_pydocs.py"
TEXT = "--config=configs/pretrain_text.py"


@pytest.mark.parametrize(
  ("name", "arguments", "words"),
  [
    ("train", [QUICKSTART, "--config.train.setps=3"], "--config.train.steps"),
    ("train", [QUICKSTART, "--config.train.steps=many"], "many"),
    ("train", ["--config=configs/nowhere.py"], "configs/nowhere.py"),
    ("train", [QUICKSTART, "--workdir=/dev/null/run"], "can't be written"),
    ("train", [QUICKSTART, "--config.data.target_length=500"], "model.positions"),
    ("train", [QUICKSTART, "--config.model.norm=both"], "model.norm"),
    ("train", [QUICKSTART, "--config.data.task=pydoc"], "pydocs"),
    ("train", [TEXT, "--config.data.files=nowhere.txt"], "nowhere.txt"),
    ("train", [TEXT, "--config.data.files={tmp}/empty.txt"], "empty.txt"),
    ("train", [TEXT, "--config.data.files={tmp}/binary.txt"], "binary.txt"),
    ("train", [TEXT, "--config.data.files={tmp}/field.jsonl"], "field.jsonl, line 2"),
    ("train", [TEXT, "--config.init_from={tmp}/none"], "no checkpoint at"),
    ("generate", ["--checkpoint={tmp}"], "no checkpoint at"),
    ("generate", ["--checkpoint={tmp}", "--input={tmp}/none"], "none can't be read"),
    ("evaluate", [QUICKSTART], "no checkpoint at"),
    ("train", [COMPARE], "another command"),
    ("compare", [QUICKSTART], "another command"),
    ("compare", [COMPARE, "--config.finetune.train.setps=3"], "finetune.train.steps"),
    ("compare", [COMPARE, "--config.compare.rows=soft"], "soft_random"),
    ("report", ["--runs={tmp}", "--output={tmp}/report"], "is not the folder of a run"),
  ],
)
def test_a_mistake_is_one_line_and_status_2(name, arguments, words, tmp_path):
  (tmp_path / "empty.txt").touch()
  (tmp_path / "binary.txt").write_bytes(bytes(range(256)) * 50)
  (tmp_path / "field.jsonl").write_text('{"text": "Fine."}\n{"txt": "Not."}\n')
  before = set(tmp_path.iterdir())
  arguments = [argument.format(tmp=tmp_path) for argument in arguments]
  if name in ("train", "evaluate", "compare") and not any(
    "workdir" in a for a in arguments
  ):
    arguments.append(f"--workdir={tmp_path / 'run'}")
  done = command(name, *arguments)
  errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
  assert done.returncode == 2, done.stderr
  assert len(errors) == 1 and words in errors[0], done.stderr
  assert "Traceback" not in done.stderr
  assert not list(tmp_path.rglob("*.partial"))
  assert set(tmp_path.iterdir()) - before <= {tmp_path / "run"}


def test_importing_loads_neither_tensorflow_nor_jax():
  done = python(
    "-c",
    "import time; start = time.time(); import elmer_jax, sys\n"
    "assert not {'tensorflow', 'seqio', 'jax'} & set(sys.modules)\n"
    "assert time.time() - start < 3",
  )
  assert done.returncode == 0, done.stderr


def test_training_from_a_cache_and_generating_need_no_tensorflow(tmp_path):
  text = tmp_path / "text.txt"
  text.write_text(
    "\n\n".join(f"Number {n} is near {n + 1}. So it is." for n in range(99))
  )
  arguments = [
    TEXT,
    f"--workdir={tmp_path / 'run'}",
    f"--config.data.files={text}",
    "--config.data.vocabulary_size=300",
    "--config.data.batch_size=4",
    "--config.model.d_model=32",
    "--config.model.encoder_layers=1",
    "--config.model.decoder_layers=2",
    "--config.train.steps=2",
  ]
  prepared = command("prepare", *arguments)
  assert prepared.returncode == 0, prepared.stderr
  text.unlink()  # the cache is all that training needs

  def without_tensorflow(module: str, arguments: list[str], stdin: str = ""):
    script = BLOCKER + (
      f"import runpy; sys.argv = [{module!r}, *{arguments!r}]\n"
      f"runpy.run_module('elmer_jax.{module}', run_name='__main__')"
    )
    done = python("-c", script, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done

  trained = without_tensorflow("train", arguments)
  assert "step 2/2" in trained.stderr
  generated = without_tensorflow(
    "generate",
    [f"--checkpoint={tmp_path / 'run'}"],
    stdin="Number 1.\n\nNumber <mask>.\n",
  )
  assert generated.stdout.count("\n") == 3
