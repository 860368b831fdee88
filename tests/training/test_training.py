# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A run from text to checkpoint: it resumes exactly, and refuses what does not fit."""

import json
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import tiny

import elmer_jax
from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.checkpoints.train_state import TrainState
from elmer_jax.commands.resolution import use_init_from
from elmer_jax.commands.run_folder import claim_run_folder
from elmer_jax.core.errors import UserError
from elmer_jax.data.preparation import prepare
from elmer_jax.training import loop, time_accounting

STEPS = 6


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
  """A file of short stories with some regularity."""
  rng = np.random.default_rng(0)
  names, verbs = ["Ann", "Bob", "Cy", "Dee"], ["sees", "hears", "likes", "meets"]
  path = tmp_path_factory.mktemp("text") / "stories.txt"
  path.write_text(
    "\n\n".join(
      " ".join(
        f"{rng.choice(names)} {rng.choice(verbs)} {rng.choice(names)} again."
        for _ in range(6)
      )
      for _ in range(200)
    )
  )
  return path


def configure(text: Path, **changes):
  config = tiny.configure(data__task="stories", data__files=str(text), **changes)
  config.mesh.data = 8
  return config


def run(config, workdir) -> None:
  claim_run_folder(config, str(workdir))
  loop.train(config, str(workdir), prepare(config, str(workdir)))


def lines(workdir: Path) -> list[dict]:
  return [json.loads(line) for line in (workdir / "metrics.jsonl").open()]


def validation(workdir: Path) -> dict[int, dict]:
  return {e["step"]: e for e in lines(workdir) if e["split"] == "validation"}


@pytest.fixture(scope="module")
def finished(text, tmp_path_factory) -> Path:
  workdir = tmp_path_factory.mktemp("finished")
  run(configure(text), workdir)
  return workdir


def test_a_run_writes_its_files(finished):
  assert sorted(validation(finished)) == [0, 3, 6]
  assert [e["step"] for e in lines(finished) if e["split"] == "train"] == [2, 4, 6]
  assert {"loss", "accuracy", "loss_layer_1", "accuracy_layer_3"} <= set(
    validation(finished)[6]
  )
  assert list((finished / "tensorboard").iterdir())
  assert json.loads((finished / "config.json").read_text())["train"]["steps"] == STEPS
  kept = [p.name for p in (finished / "checkpoints").iterdir() if p.name.isdigit()]
  assert sorted(kept) == ["4", "6"]


def test_every_train_line_has_the_time_accounting(finished):
  for line in (e for e in lines(finished) if e["split"] == "train"):
    spent = [value for name, value in line.items() if name.startswith("seconds_")]
    assert len(spent) == len(time_accounting.KINDS) and min(spent) >= 0
    assert 0 < line["goodput"] < 1
    assert line["tokens_per_second_per_chip"] == line["tokens_per_second"] / 8
  summary = json.loads((finished / time_accounting.FILE).read_text())
  parts = sum(summary[f"seconds_{kind}"] for kind in time_accounting.KINDS)
  assert summary["goodput"] == pytest.approx(1 - parts / summary["seconds"], abs=1e-3)
  assert min(summary["seconds_compile"], summary["seconds_evaluation"]) > 0
  assert not {"mfu", "device_memory_peak_gib"} & set(summary)  # on a CPU


def test_a_resumed_run_ends_bit_equal(text, finished, tmp_path):
  """Interrupted after its first checkpoint, resumed with a trace of its steps."""
  shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
  shutil.rmtree(tmp_path / "checkpoints" / "6")
  # An interrupted save leaves such a folder.
  (tmp_path / "checkpoints" / "6.orbax-checkpoint-tmp").mkdir()
  config = configure(text)
  config.profile = "5:6"
  run(config, tmp_path)
  assert validation(tmp_path)[6] == validation(finished)[6]
  assert [(e["step"], e["split"]) for e in lines(tmp_path)] == [
    (e["step"], e["split"]) for e in lines(finished)
  ]
  [trace] = (tmp_path / "profile").rglob("*.xplane.pb")
  assert trace.stat().st_size > 0
  # The second start continues the timers of the first, as of step 4.
  earlier, now = (
    [e for e in lines(folder) if e["split"] == "train"]
    for folder in (finished, tmp_path)
  )
  for kind in time_accounting.KINDS:
    assert now[-1][f"seconds_{kind}"] >= earlier[1][f"seconds_{kind}"]


def test_a_run_is_finished_at_its_last_step(finished):
  assert orbax_checkpoint.is_finished(str(finished), STEPS)
  assert not orbax_checkpoint.is_finished(str(finished), STEPS + 1)


def test_a_checkpoint_loads_and_generates(finished):
  model = elmer_jax.load(str(finished))
  results = elmer_jax.generate(model, ["Ann sees <mask> again.", ""], target_length=9)
  assert len(results) == 2
  for result in results:
    count = len(result.token_ids)
    assert count <= 9 and 2 not in result.token_ids
    assert result.exit_layers.shape == result.confidence.shape == (count,)
    assert result.by_layer.shape == (model.config.decoder_layers, count)
  by_folder = elmer_jax.load(str(finished / "checkpoints" / "4"))
  assert not np.array_equal(by_folder.params["tokens"], model.params["tokens"])


def test_a_checkpoint_can_initialise_another_run(text, finished, tmp_path):
  stories = text.read_text().split("\n\n")
  pairs = tmp_path / "pairs.tsv"
  pairs.write_text("".join(f"{story}\t{story[:15]}\n" for story in stories))
  changes = {"objective__name": "soft_exit", "train__steps": 1}
  config = configure(pairs, **changes)
  config.init_from = str(finished)
  use_init_from(config)
  run(config, tmp_path / "run")
  model = elmer_jax.load(str(tmp_path / "run"))
  assert "soft_exit" in model.params
  assert model.objective == "soft_exit"


def test_weights_of_another_size_are_refused(text, finished, tmp_path):
  config = configure(text, model__decoder_layers=2)
  config.init_from = str(finished)
  config.data.vocabulary = str(orbax_checkpoint.vocabulary_folder(str(finished)))
  with pytest.raises(UserError, match="model.decoder_layers 3 there, 2 here"):
    run(config, tmp_path)


def test_a_workdir_of_another_configuration_is_refused(text, finished):
  with pytest.raises(UserError, match="seed is 1, stored is 0"):
    config = configure(text)
    config.seed = 1
    claim_run_folder(config, str(finished))
  # How often it logs may change.
  claim_run_folder(configure(text, train__log_every=3), str(finished))


def test_lengths_that_do_not_fit_are_refused(finished):
  model = elmer_jax.load(str(finished))
  with pytest.raises(UserError, match="target_length 41 must be between 1 and"):
    elmer_jax.generate(model, ["x"], target_length=41)
  with pytest.raises(UserError, match="exit=soft does not fit"):
    elmer_jax.generate(model, ["x"], exit="soft")
  with pytest.raises(UserError, match="there is no checkpoint at"):
    elmer_jax.load(str(finished / "nowhere"))


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_model_that_can_not_be_exported_is_announced(norm, caplog):
  state = TrainState(0, {"tokens": np.zeros(3)}, None)
  program = types.SimpleNamespace(init=lambda seed: state, shapes={}, shardings={})
  manager = types.SimpleNamespace(directory="", all_steps=lambda: [])
  sizes = tiny.model_config(model__norm=norm)
  with caplog.at_level("INFO", logger="absl"):
    loop._restore_or_init(tiny.configure(), sizes, program, manager)
  assert ("not for export: BART has no pre-norm" in caplog.text) == (norm == "pre")
  assert "3 parameters on 8 devices" in caplog.text


@pytest.mark.slow
def test_a_killed_run_ends_bit_equal(text, tmp_path):
  """SIGKILL during training, then the same command again."""
  config_file = tmp_path / "config.py"
  config_file.write_text(
    "import sys\n"
    f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
    "import tiny\n\n"
    "def get_config():\n"
    f"  config = tiny.configure(data__task='stories', data__files={str(text)!r})\n"
    "  config.train.update({'steps': 400, 'log_every': 20, 'eval_every': 100})\n"
    "  config.checkpoint.every = 20\n"
    "  return config\n"
  )

  def start(workdir: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "elmer_jax.train"]
    return subprocess.Popen(
      [*command, f"--config={config_file}", f"--workdir={workdir}"]
    )

  uninterrupted, killed = tmp_path / "uninterrupted", tmp_path / "killed"
  assert start(uninterrupted).wait() == 0
  process = start(killed)
  while not (killed / "checkpoints" / "100").exists():
    assert process.poll() is None
    time.sleep(0.05)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert start(killed).wait() == 0
  assert validation(killed)[400] == validation(uninterrupted)[400]
