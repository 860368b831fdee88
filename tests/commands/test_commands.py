# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The commands as a user starts them: help, one line for a mistake, no TensorFlow."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_text
from absl import flags

import elmer_jax
from elmer_jax import __main__, compare, evaluate, prepare, train
from elmer_jax.commands import runner
from elmer_jax.configuration import COMPARISON, RUN

ROOT = Path(__file__).parents[2]
MAINS = {"train": train, "evaluate": evaluate, "prepare": prepare, "compare": compare}

# Hides these packages, as on a machine without them.
BLOCKER = """
import io, runpy, sys
for name in ('tensorflow', 'tensorflow_datasets', 'tensorflow_text', 'seqio'):
  sys.modules[name] = None  # importing it raises ModuleNotFoundError

def run(name, *arguments):
  sys.argv = [name, *arguments]
  runpy.run_module('elmer_jax.' + name, run_name='__main__')
"""


def start(*arguments: str) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, *arguments],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    cwd=ROOT,
    env=os.environ | {"XLA_FLAGS": "", "PYTHONPATH": str(ROOT)},
  )


@pytest.fixture
def run(monkeypatch):
  """Returns a function that runs a command in this process."""

  def run(name: str, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    schema = COMPARISON if name == "compare" else RUN
    runner.run(MAINS[name].main, schema)

  yield run
  flags.FLAGS.unparse_flags()


QUICKSTART = "--config=quickstart"
COMPARE = "--config=compare_pydocs"
TEXT = "--config=pretrain_text"


@pytest.mark.parametrize(
  ("name", "arguments", "words"),
  [
    ("train", [QUICKSTART, "--config.train.setps=3"], "--config.train.steps"),
    ("train", [QUICKSTART, "--config.checkpoint.keep=3"], "checkpoint.max_to_keep"),
    ("train", [QUICKSTART, "--config.train.steps=many"], "many"),
    ("train", [QUICKSTART, "more"], "unexpected argument 'more'; use --name=value"),
    ("train", [QUICKSTART, "--nowhere=x"], "nowhere"),
    ("train", ["--config=configs/nowhere.py"], "configs/nowhere.py"),
    ("train", [QUICKSTART, "--workdir=/dev/null/run"], "can't be written"),
    ("train", [QUICKSTART, "--workdir=gs://bucket/run"], "is a URL"),
    ("train", [QUICKSTART, "--workdir="], "--workdir="),
    ("train", [QUICKSTART, "--config.data.target_length=500"], "model.positions"),
    ("train", [QUICKSTART, "--config.model.norm=both"], "model.norm"),
    ("train", [QUICKSTART, "--config.data.task=pydoc"], "pydocs"),
    ("train", [TEXT], "--config.data.files is missing"),
    ("prepare", ["--config=finetune_pairs"], "--config.data.files is missing"),
    ("train", [TEXT, "--config.data.files=nowhere.txt"], "nowhere.txt"),
    ("train", [TEXT, "--config.data.files={tmp}/empty.txt"], "empty.txt"),
    ("train", [TEXT, "--config.data.files={tmp}/binary.txt"], "binary.txt"),
    ("train", [TEXT, "--config.data.files={tmp}/field.jsonl"], "field.jsonl, line 2"),
    ("train", [TEXT, "--config.init_from={tmp}/none"], "no checkpoint at"),
    ("train", [], "--config is missing"),
    ("evaluate", ["--workdir={tmp}"], "--config is missing"),
    ("evaluate", [QUICKSTART], "no checkpoint at"),
    ("train", [COMPARE], "another command"),
    ("compare", [QUICKSTART], "another command"),
    ("compare", [COMPARE, "--config.finetune.train.setps=3"], "finetune.train.steps"),
    ("compare", [COMPARE, "--config.compare.rows=soft"], "soft_random"),
  ],
)
def test_a_mistake_is_one_line_and_status_2(
  name, arguments, words, run, tmp_path, capsys
):
  (tmp_path / "empty.txt").touch()
  (tmp_path / "binary.txt").write_bytes(bytes(range(256)) * 50)
  (tmp_path / "field.jsonl").write_text('{"text": "Fine."}\n{"txt": "Not."}\n')
  before = set(tmp_path.iterdir())
  arguments = [argument.format(tmp=tmp_path) for argument in arguments]
  if not any("workdir" in argument for argument in arguments):
    arguments.append(f"--workdir={tmp_path / 'run'}")
  with pytest.raises(SystemExit) as ended:
    run(name, *arguments)
  assert ended.value.code == 2
  lines = capsys.readouterr().err.splitlines()
  errors = [line for line in lines if line.startswith("error:")]
  assert len(errors) == 1 and words in errors[0], lines
  assert not list(tmp_path.rglob("*.partial"))
  assert set(tmp_path.iterdir()) - before <= {tmp_path / "run"}


def test_an_error_never_has_a_second_line(capsys):
  with pytest.raises(SystemExit):
    runner.fail("a\nb \x1b[2J")
  assert capsys.readouterr().err == "error: a\\nb \\x1b[2J\n"
  with pytest.raises(SystemExit):
    runner.fail("start" + "x" * 10**6 + "end")
  shown = capsys.readouterr().err
  assert len(shown) < 2100 and "start" in shown and shown.endswith("end\n")


def test_a_log_line_never_has_a_second_line():
  record = logging.LogRecord("", 20, "", 1, "%s can't be read", ("a\nb\x1b[2J",), None)
  line = runner._LineFormatter("%(message)s").format(record)
  assert line == "a\\nb\\x1b[2J can't be read"


def test_every_command_has_help_and_the_package_lists_all(capsys, monkeypatch):
  started = {
    name: start("-m", "elmer_jax", name, "--help" if len(name) % 2 else "-h")
    for name in __main__.COMMANDS
  }
  monkeypatch.setattr(sys, "argv", ["elmer"])
  __main__.main()
  listed = capsys.readouterr().out.splitlines()
  for name, process in started.items():
    text, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    [line] = [line for line in listed if line.split()[:1] == [name]]
    assert text.startswith(line.split(maxsplit=1)[1])
    if name not in ("generate", "report", "average", "convert"):
      assert "--config=NAME" in text and "configuration.py" in text
      key = "finetune.train.steps" if name == "compare" else "train.steps"
      assert key in text
    if name not in ("generate", "convert", "plan"):
      assert "--workdir" in text
  others = {"__init__", "__main__", "configuration", "configuration_ranges"}
  files = {path.stem for path in Path(elmer_jax.__file__).parent.glob("*.py")}
  assert files - others == set(__main__.COMMANDS)


def test_version_and_an_unknown_command(run, capsys, monkeypatch):
  run("train", "--version")
  monkeypatch.setattr(sys, "argv", ["elmer", "--version"])
  __main__.main()
  assert capsys.readouterr().out == f"elmer_jax {elmer_jax.__version__}\n" * 2
  monkeypatch.setattr(sys, "argv", ["elmer", "trian"])
  with pytest.raises(SystemExit) as ended:
    __main__.main()
  assert ended.value.code == 2
  assert "Did you mean train?" in capsys.readouterr().err


def test_importing_loads_neither_tensorflow_nor_jax():
  process = start(
    "-c",
    "import elmer_jax, elmer_jax.train, sys\n"
    "assert not {'tensorflow', 'seqio', 'jax'} & set(sys.modules)",
  )
  assert process.wait(60) == 0, process.stderr.read()


def test_training_from_a_cache_and_generating_need_no_tensorflow(run, tmp_path):
  text = tmp_path / "text.txt"
  text.write_text("\n\n".join(tiny_text.documents(60)))
  workdir = f"--workdir={tmp_path / 'run'}"
  run(
    "prepare",
    TEXT,
    workdir,
    f"--config.data.files={text}",
    "--config.data.vocabulary_size=300",
    "--config.data.batch_size=4",
    "--config.model.d_model=32",
    "--config.model.encoder_layers=1",
    "--config.model.decoder_layers=2",
    "--config.train.steps=2",
  )
  text.unlink()  # the cache is all that training needs
  script = BLOCKER + (
    f"run('train', {workdir!r})\n"
    "sys.stdin = io.TextIOWrapper(io.BytesIO(b'Number 1.\\n\\nNumber <mask>.\\n'))\n"
    f"run('generate', '--checkpoint={tmp_path / 'run'}')\n"
  )
  process = start("-c", script)
  written, log = process.communicate(timeout=300)
  assert process.returncode == 0, log
  assert "step 2/2" in log
  assert written.count("\n") == 3
