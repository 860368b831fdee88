# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The stages of a run as functions: each does what is missing, and nothing twice.

`prepare.prepare` is the one before these.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import ml_collections
from absl import logging

from elmer_jax import configuration, objectives
from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.commands import run_folder
from elmer_jax.core import compile_cache
from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets import dataset_files
from elmer_jax.data.preparation import prepare
from elmer_jax.generation import api
from elmer_jax.parallel import processes
from elmer_jax.training import loop, out_of_memory
from elmer_jax.training.metric_writer import record_stage_seconds
from elmer_jax.training.optimizer import make_optimizer


def train(
  config: ml_collections.ConfigDict,
  workdir: str,
  distributed: str = "",
  patience: float = processes.MEETING_SECONDS,
) -> None:
  """Trains to `train.steps`, from where an earlier start was interrupted.

  Args:
    config: of the run.
    workdir: its folder.
    distributed: of several processes, as `parallel.processes.start` takes it.
    patience: seconds that several processes wait for each other.
  """
  # What can be refused is refused before anything is prepared.
  configuration.check(config)
  objectives.get(config)
  make_optimizer(config)
  orbax_checkpoint.use_its_vocabulary(config)
  processes.start(distributed, patience)
  processes.check_agreement(config, patience)
  processes.first_alone("claim", lambda: run_folder.claim(config, workdir))
  if orbax_checkpoint.is_finished(workdir, config.train.steps):
    logging.info("%s is trained already: %d updates", workdir, config.train.steps)
    return
  compile_cache.cache_programs()
  vocabulary = processes.first_alone("prepare", lambda: prepare(config, workdir))
  processes.meet("the first update", patience)
  with out_of_memory.explain_out_of_memory(config):
    seconds = loop.train(config, workdir, vocabulary)
  if processes.is_first():
    record_stage_seconds(workdir, "train", seconds)


def evaluate(
  config: ml_collections.ConfigDict,
  workdir: str,
  split: str | None = None,
  settings: Mapping[str, object] | None = None,
  variant: str = "",
  oracle_length: bool = False,
) -> dict:
  """Measures the newest checkpoint of a run, if that was not done yet.

  Args:
    config: of the run.
    workdir: its folder.
    split: what is measured: "test" or "validation". A pre-training is measured on its
      validation split; a fine-tuning on its test split, of own pairs on validation.
    settings: keyword arguments of `api.generate`, by default none.
    variant: distinguishes the files of other settings: evaluation/SPLIT-VARIANT.json.
    oracle_length: whether a row of texts with their references' lengths is wanted too.

  Returns:
    The content of WORKDIR/evaluation/pretrain.json or SPLIT.json.

  Raises:
    UserError: there is no checkpoint, or no such split.
  """
  orbax_checkpoint.use_its_vocabulary(config)
  run_folder.claim(config, workdir)
  _, step = orbax_checkpoint.find_checkpoint(workdir)
  split = measured_split(config, split)
  if found := evaluated(config, workdir, split, variant, oracle_length):
    logging.info("%s is evaluated already: update %d", workdir, step)
    return found
  start = time.monotonic()
  compile_cache.cache_programs()
  model = api.load(workdir)
  result = result_path(config, workdir, split, variant)
  if oracle_length and model.objective in ("lplm", "autoregressive"):
    raise UserError(
      "--oracle_length is for fine-tuned models that write all tokens at once; "
      f"{workdir} was trained with objective {model.objective}"
    )
  if config.objective.name == "lplm":
    from elmer_jax.evaluation.pretraining import evaluate_pretraining

    found = evaluate_pretraining(config, workdir, model)
  else:
    from elmer_jax.evaluation.finetuning import evaluate_finetuning

    found, predictions = evaluate_finetuning(
      config, workdir, model, split, settings or {}, oracle_length
    )
    lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in predictions]
    write_whole(predictions_path(result), "".join(lines))
  found = {"checkpoint_step": step, **found}
  write_whole(result, json.dumps(found, indent=1))
  stage = "-".join(filter(None, ("evaluate", variant)))
  record_stage_seconds(workdir, stage, time.monotonic() - start)
  return found


def evaluated(
  config: ml_collections.ConfigDict,
  workdir: str,
  split: str,
  variant: str = "",
  oracle_length: bool = False,
) -> dict | None:
  """Returns what `evaluate` found at the newest checkpoint; None: not done yet."""
  path = result_path(config, workdir, split, variant)
  if not path.exists():
    return None
  found = json.loads(path.read_text())
  has_all = found.get("oracle_length", False) or not oracle_length
  if config.objective.name != "lplm":
    has_all &= found.get("drawn", 0) == config.evaluate.examples
  _, step = orbax_checkpoint.find_checkpoint(workdir)
  return found if found["checkpoint_step"] == step and has_all else None


def result_path(
  config: ml_collections.ConfigDict, workdir: str, split: str, variant: str = ""
) -> Path:
  """Returns where `evaluate` leaves what it found."""
  name = "pretrain" if config.objective.name == "lplm" else split
  name = "-".join(filter(None, (name, variant)))
  return Path(workdir) / "evaluation" / f"{name}.json"


def predictions_path(result: Path) -> Path:
  """Returns where the outputs stand that the scores in `result` are of."""
  prefix = result.stem.replace("test", "", 1).strip("-")
  prefix = f"{prefix}_" if prefix else ""
  return result.with_name(f"{prefix}predictions.jsonl")


def measured_split(config: ml_collections.ConfigDict, split: str | None = None) -> str:
  """Returns the split to measure, `split` if it can be; own pairs have no test split.

  Raises:
    UserError: a pre-training is to be measured on its test split.
  """
  if config.objective.name == "lplm":
    if split == "test":
      raise UserError(
        "--split=test: a pre-training is measured on its validation split"
      )
    return "validation"
  own = dataset_files.has_own_files(config)
  return split or ("validation" if own else "test")
