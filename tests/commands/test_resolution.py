# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The configuration of a run: from files, the command line, its folder, init_from."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import tiny
import tiny_run
import tiny_text

from elmer_jax import configuration
from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.checkpoints.huggingface import hf_folder
from elmer_jax.commands.resolution import resolve
from elmer_jax.commands.run_folder import claim_run_folder
from elmer_jax.configuration import COMPARISON
from elmer_jax.core.errors import UserError
from elmer_jax.model import elmer

PAIRS = ("--config=finetune_pairs", "--config.data.files=a.jsonl")
SHORT = ("--config.data.source_length=16", "--config.data.target_length=16")


def config_of(*arguments: str, **kwargs):
  return resolve(["elmer", *arguments], **kwargs).config


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
  """A run with weights: 2 + 3 layers of width 32, 330 ids, 40 positions."""
  folder = tmp_path_factory.mktemp("trained")
  tiny_run.write(tiny.configure(), folder, tiny_text.vocabulary())
  return folder


@pytest.fixture
def stored(tmp_path) -> Path:
  """The folder of a run that has begun."""
  config = config_of("--config=quickstart", f"--workdir={tmp_path / 'run'}")
  claim_run_folder(config, str(tmp_path / "run"))
  (tmp_path / "run" / "metrics.jsonl").touch()
  return tmp_path / "run"


def rewrite(folder: Path, change) -> None:
  path = folder / "config.json"
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))


def test_a_configuration_has_a_name_or_a_path(tmp_path):
  named = config_of("--config=quickstart", "--workdir=w")
  own = tmp_path / "own.py"
  own.write_text(
    "import ml_collections\n\n\n"
    "def get_config():\n"
    "  return ml_collections.ConfigDict({'train': {'steps': 7}})\n"
  )
  config = config_of(f"--config={own}", "--workdir=w")
  assert named.train.steps == 1200 and config.train.steps == 7
  # The other keys have their default.
  assert config.data.to_dict() == configuration.default().data.to_dict()


def test_flags_have_any_order_and_both_forms():
  arguments = ["--config.train.steps", "5", "--split=test", "--workdir", "w"]
  resolved = resolve(
    ["elmer", *arguments, "--config=quickstart", "--config.mesh.data=-1"]
  )
  assert resolved.config.train.steps == 5 and resolved.config.mesh.data == -1
  assert resolved.workdir == "w" and resolved.arguments == ["elmer", "--split=test"]


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("c.train.setps = 7", "train.setps is not a configuration key.*train.steps"),
    ("c.checkpoint.keep = 7", "checkpoint.keep is now called checkpoint.max_to_keep"),
    ("c.train.steps = 'many'", "line 6: TypeError.*steps"),
    ("c.train.steps = missing", "line 6: NameError: name 'missing'"),
    ("c = 3", "does not return a ConfigDict"),
  ],
)
def test_a_wrong_configuration_file_is_refused(tmp_path, line, message):
  own = tmp_path / "own.py"
  own.write_text(
    "from elmer_jax import configuration\n\n\ndef get_config():\n"
    f"  c = configuration.default()\n  {line}\n  return c\n"
  )
  with pytest.raises(UserError, match=message):
    config_of(f"--config={own}", "--workdir=w")


def test_a_json_file_is_no_configuration_file(stored):
  with pytest.raises(UserError, match=f"--workdir={stored} alone is enough"):
    config_of(f"--config={stored / 'config.json'}", "--workdir=w")


def test_the_folder_of_a_run_knows_its_configuration(stored):
  again = config_of(f"--workdir={stored}")
  assert again == config_of("--config=quickstart", "--workdir=w")
  longer = config_of(f"--workdir={stored}", "--config.train.steps=2000")
  assert longer.train.steps == 2000
  # A key with the stored value is not a change.
  config_of(f"--workdir={stored}", "--config.model.d_model=128")


def test_what_defines_a_run_does_not_change(stored):
  message = "--config.model.d_model is 64, stored is 128"
  with pytest.raises(UserError, match=message):
    config_of(f"--workdir={stored}", "--config.model.d_model=64")
  config = config_of(
    "--config=quickstart", f"--workdir={stored}", "--config.model.d_model=64"
  )
  with pytest.raises(UserError, match="model.d_model"):
    claim_run_folder(config, str(stored))


def test_an_older_run_is_read(stored):
  def older(content: dict) -> None:
    content["checkpoint"]["keep"] = content["checkpoint"].pop("max_to_keep") + 5
    content["train"]["accumulation"] = 2
    del content["train"]["grad_accumulation_steps"], content["objective"]["glancing"]

  rewrite(stored, older)
  config = config_of(f"--workdir={stored}")
  assert config.checkpoint.max_to_keep == 7
  assert config.train.grad_accumulation_steps == 2
  assert config.objective.glancing == 0.0
  claim_run_folder(config, str(stored))


@pytest.mark.parametrize("text", ["{", "[]", "[" * 10_000, '{"vocab_size": 3}'])
def test_a_damaged_configuration_is_named(stored, text):
  (stored / "config.json").write_text(text)
  with pytest.raises(UserError, match="config.json"):
    config_of(f"--workdir={stored}")


def test_a_start_that_made_nothing_does_not_claim_the_folder(tmp_path):
  wrong = config_of(*PAIRS, f"--workdir={tmp_path}")
  claim_run_folder(wrong, str(tmp_path))
  right = config_of(f"--workdir={tmp_path}", "--config.data.files=b.jsonl")
  claim_run_folder(right, str(tmp_path))
  assert config_of(f"--workdir={tmp_path}").data.files == "b.jsonl"


def test_init_from_brings_its_sizes(trained, caplog):
  with caplog.at_level("INFO", logger="absl"):
    config = config_of(*PAIRS, *SHORT, "--workdir=w", f"--config.init_from={trained}")
  sizes = configuration.model_config(config, config.data.vocabulary_size)
  stored = orbax_checkpoint.load(str(trained)).config
  free = {"dropout", "init_stddev", "soft_exit"}
  free |= {"transition_heads", "transition_window"}  # of the objective
  ours, theirs = dataclasses.asdict(sizes), dataclasses.asdict(stored)
  assert {name for name in ours if ours[name] != theirs[name]} <= free
  assert Path(config.data.vocabulary) == trained / "checkpoints" / "vocabulary"
  assert "model.d_model 32 instead of 128" in caplog.text


def test_init_from_opens_hugging_face_folders(tmp_path):
  vocabulary = tiny_text.vocabulary()
  sizes = tiny.model_config(vocabulary.size)
  metadata = {"objective": {"name": "lplm"}, "source_length": 16, "target_length": 12}
  folder = str(tmp_path / "hf")
  params = elmer.initialise(sizes, 0)
  hf_folder.write(folder, sizes, params, metadata, vocabulary)
  config = config_of(*PAIRS, *SHORT, "--workdir=w", f"--config.init_from={folder}")
  assert config.model.d_model == 32 and config.model.norm == "post"
  assert config.data.vocabulary == folder and config.data.vocabulary_size == 330


@pytest.mark.parametrize(
  ("override", "message"),
  [
    ("model.d_model=64", "--config.model.d_model is 64, not 32"),
    ("model.norm=pre", "--config.model.norm is 'pre', not 'post'"),
    ("data.vocabulary_size=300", "--config.data.vocabulary_size is 300, not 330"),
  ],
)
def test_sizes_that_contradict_init_from_are_refused(trained, override, message):
  arguments = [*PAIRS, *SHORT, "--workdir=w", f"--config.init_from={trained}"]
  with pytest.raises(UserError, match=message):
    config_of(*arguments, f"--config.{override}")
  with pytest.raises(UserError, match=f"finetune.{message}".replace("--config.", "")):
    config_of(
      "--config=compare_pydocs",
      "--workdir=w",
      f"--config.finetune.init_from={trained}",
      f"--config.finetune.{override}",
      schema=COMPARISON,
    )


def test_texts_longer_than_the_positions_of_init_from_are_refused(trained):
  with pytest.raises(
    UserError, match="source_length 128 .* .40. of init_from=.*shorten"
  ):
    config_of(*PAIRS, "--workdir=w", f"--config.init_from={trained}")


def test_another_vocabulary_than_that_of_init_from_is_refused(trained, tmp_path):
  other = tiny_text.vocabulary().train(tiny_text.documents(9), 300, tmp_path)
  assert other.size != 330
  with pytest.raises(UserError, match=f"{other.size} ids, not 330"):
    config_of(
      *PAIRS,
      *SHORT,
      "--workdir=w",
      f"--config.init_from={trained}",
      f"--config.data.vocabulary={tmp_path}",
    )


def test_a_run_goes_on_without_the_weights_it_started_from(trained, tmp_path):
  gone = tmp_path / "gone"
  os.symlink(trained, gone)
  arguments = [*PAIRS, *SHORT, f"--config.init_from={gone}"]
  run = tmp_path / "run"
  config = config_of(*arguments, f"--workdir={run}")
  claim_run_folder(config, str(run))
  (run / "metrics.jsonl").touch()
  gone.unlink()
  for again in (
    config_of(f"--workdir={run}"),
    config_of(*arguments, f"--workdir={run}"),
  ):
    assert again == config
    claim_run_folder(again, str(run))


def test_a_home_folder_is_expanded_and_urls_are_refused(monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path))
  resolved = resolve(
    ["elmer", "--config=quickstart", "--workdir=~/run", "--config.data.cache=~/cache"]
  )
  assert resolved.workdir == str(tmp_path / "run")
  assert resolved.config.data.cache == str(tmp_path / "cache")
  with pytest.raises(UserError, match="--config.data.cache=s3://b/c is a URL"):
    config_of("--config=quickstart", "--workdir=w", "--config.data.cache=s3://b/c")
