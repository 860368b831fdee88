# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The stages of a run as functions: each does what is missing, and nothing twice.

They take a configuration as `commands.resolution` makes it.
"""

import contextlib
import json
import time
from pathlib import Path

import ml_collections
from absl import logging

from elmer_jax import objectives
from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.checkpoints.which import choose
from elmer_jax.commands.run_folder import claim_run_folder
from elmer_jax.core import compile_cache, quiet
from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError
from elmer_jax.core.folder_lock import locked
from elmer_jax.core.json_files import read_object_if_present
from elmer_jax.data import prepared_data
from elmer_jax.data.datasets import dataset_files
from elmer_jax.data.preparation import prepare as prepare_data
from elmer_jax.decoding import dag_settings
from elmer_jax.decoding.strategies import Strategy
from elmer_jax.generation import api, distillation
from elmer_jax.parallel import processes
from elmer_jax.training import dag_fitting, loop, out_of_memory, wandb_run
from elmer_jax.training.metric_writer import record_stage_seconds
from elmer_jax.training.optimizer import make_optimizer


def prepare(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Builds what is missing of a run's vocabulary and caches."""
  with locked(workdir):
    claim_run_folder(config, workdir)
    is_new = prepared_data.read_parts(config, workdir) is None
    start = time.monotonic()
    prepare_data(config, workdir)
    if is_new:
      record_stage_seconds(workdir, "prepare", time.monotonic() - start)


def train(
  config: ml_collections.ConfigDict,
  workdir: str,
  distributed: str = "",
  timeout: float = processes.TIMEOUT_SECONDS,
  heartbeat_timeout: float = processes.HEARTBEAT_TIMEOUT_SECONDS,
) -> None:
  """Trains to `train.steps`, from where an earlier start was interrupted.

  Args:
    config: of the run.
    workdir: its folder.
    distributed: of several processes, as `parallel.processes.start` takes it.
    timeout: seconds that several processes wait for each other.
    heartbeat_timeout: seconds after which one that no longer answers is lost.
  """
  # What can be refused is refused before anything is prepared.
  objectives.get(config)
  make_optimizer(config)
  wandb_run.check(config)
  processes.start(distributed, timeout, heartbeat_timeout)
  processes.check_agreement(config, timeout)
  with contextlib.ExitStack() as stack:

    def claim() -> None:
      stack.enter_context(locked(workdir))
      claim_run_folder(config, workdir)

    processes.run_on_first_process("claim", claim)
    processes.check_shared_folder("--workdir", workdir, timeout)
    _train(config, workdir, timeout)


def _train(config: ml_collections.ConfigDict, workdir: str, timeout: float) -> None:
  if orbax_checkpoint.is_finished(workdir, config.train.steps, config.train.patience):
    _, step = orbax_checkpoint.find_checkpoint(workdir)
    logging.info("%s is trained already: %d steps", workdir, step)
    _fit_decoding(config, workdir)
    return
  compile_cache.cache_programs(workdir)
  prepared = processes.run_on_first_process(
    "preparing the data", lambda: prepare_data(config, workdir)
  )
  vocabulary = processes.run_on_all_processes(
    "opening the data", lambda: prepared or prepare_data(config, workdir), timeout
  )
  with out_of_memory.explain_out_of_memory(config):
    seconds = loop.train(config, workdir, vocabulary)
  if processes.is_first():
    record_stage_seconds(workdir, "train", seconds)
  _fit_decoding(config, workdir)


def _fit_decoding(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Fits what decoding a DAG needs, unless an earlier start did."""
  if config.objective.name != "dag" or not processes.is_first():
    return
  folder, step = orbax_checkpoint.find_checkpoint(workdir)
  if not dag_settings.exists(folder / str(step)):
    dag_fitting.fit_decoding(config, workdir)


def evaluate(
  config: ml_collections.ConfigDict,
  workdir: str,
  split: str | None = None,
  decoding: Strategy | None = None,
  variant: str = "",
  oracle_length: bool = False,
  which: str = "latest",
) -> dict:
  """Evaluates a checkpoint of a run, if that was not done last.

  Args:
    config: of the run.
    workdir: its folder.
    split: "test" or "validation". By default a fine-tuning is evaluated on its test
      split, one of own pairs without `data.test_files` on validation; a pre-training is
      always evaluated on validation.
    decoding: the decoding strategy, by default the one the model was trained for.
    variant: distinguishes the files of other strategies: evaluation/SPLIT-VARIANT.json.
    oracle_length: whether to decode with the references' lengths as well.
    which: checkpoint: "latest", "best" or a step.

  Returns:
    The content of WORKDIR/evaluation/pretrain.json or SPLIT.json.

  Raises:
    UserError: there is no checkpoint, or no such split.
  """
  path = choose(workdir, which)
  _, step = orbax_checkpoint.find_checkpoint(path)
  claim_run_folder(config, workdir)
  split = measured_split(config, split)
  if found := evaluated(config, workdir, split, variant, oracle_length, which):
    logging.info("%s is evaluated already: step %d", workdir, step)
    return found
  start = time.monotonic()
  compile_cache.cache_programs(workdir)
  model = api.load(path)
  result = result_path(config, workdir, split, variant)
  if oracle_length and model.objective in ("lplm", "autoregressive"):
    raise UserError(
      "--oracle_length is for fine-tuned models that generate in one pass; "
      f"{workdir} was trained with objective {model.objective}"
    )
  if config.objective.name == "lplm":
    from elmer_jax.evaluation.pretraining import evaluate_pretraining

    found = evaluate_pretraining(config, workdir, model)
  else:
    quiet.import_seqio()
    from elmer_jax.evaluation.finetuning import evaluate_finetuning

    found, predictions = evaluate_finetuning(
      config, workdir, model, split, decoding, oracle_length
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
  which: str = "latest",
) -> dict | None:
  """Returns the results of `evaluate` at a checkpoint, if there are any."""
  path = result_path(config, workdir, split, variant)
  found = read_object_if_present(path, {"checkpoint_step": int}, "delete it")
  if found is None:
    return None
  has_all = found.get("oracle_length", False) or not oracle_length
  if config.objective.name != "lplm":
    has_all &= found.get("drawn", 0) == config.evaluate.examples
  _, step = orbax_checkpoint.find_checkpoint(choose(workdir, which))
  return found if found["checkpoint_step"] == step and has_all else None


def distill(
  config: ml_collections.ConfigDict,
  workdir: str,
  output: str,
  beams: int | None = None,
  batch_size: int = 32,
) -> None:
  """Writes the training targets of a finished run, generated by its model.

  The arguments are those of `generation.distillation.distill`.
  """
  orbax_checkpoint.find_checkpoint(workdir)
  claim_run_folder(config, workdir)
  compile_cache.cache_programs(workdir)
  distillation.distill(config, workdir, output, beams, batch_size)


def result_path(
  config: ml_collections.ConfigDict, workdir: str, split: str, variant: str = ""
) -> Path:
  """Returns the file with the results of `evaluate`."""
  name = "pretrain" if config.objective.name == "lplm" else split
  name = "-".join(filter(None, (name, variant)))
  return Path(workdir) / "evaluation" / f"{name}.json"


def predictions_path(result: Path) -> Path:
  """Returns the file with the outputs that were scored in `result`."""
  prefix = result.stem.replace("test", "", 1).strip("-")
  prefix = f"{prefix}_" if prefix else ""
  return result.with_name(f"{prefix}predictions.jsonl")


def measured_split(config: ml_collections.ConfigDict, split: str | None = None) -> str:
  """Returns the split to evaluate; see `evaluate`.

  Raises:
    UserError: `split` is the test split of a pre-training.
  """
  if config.objective.name == "lplm":
    if split == "test":
      raise UserError(
        "--split=test: a pre-training is evaluated on its validation split"
      )
    return "validation"
  if split:
    return split
  has_test = not dataset_files.has_own_files(config) or config.data.test_files
  return "test" if has_test else "validation"
