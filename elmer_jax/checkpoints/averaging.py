# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint averaging: the mean of the weights of a run's newest checkpoints.

Unlike a running average it costs no memory or time in training, and the number of
checkpoints is chosen afterwards.
"""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
from absl import logging

from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError
from elmer_jax.core.json_files import read_object
from elmer_jax.decoding import dag_settings
from elmer_jax.tokenizer.bpe import Vocabulary

# Files of the run that its report reads.
_RUN_FILES = ("config.json", "metrics.jsonl", "timing.json")


def average(run: str, output: str, last: int) -> None:
  """Writes the mean of a run's `last` newest checkpoints as a new run's folder.

  Raises:
    UserError: the run has fewer checkpoints, or `output` exists or can't be created.
  """
  folder = Path(output)
  if folder.exists():
    raise UserError(f"--output={output} exists already: name a new folder")
  mean = mean_of_last(run, last)
  try:
    folder.mkdir(parents=True)
  except OSError as error:
    raise UserError(f"--output={output} can't be created: {error.strerror}") from None
  for name in _RUN_FILES:
    if (Path(run) / name).is_file():
      shutil.copy(Path(run) / name, folder / name)
  _keep_cache(run, folder / "config.json")
  checkpoints = orbax_checkpoint.checkpoints_folder(output)
  Vocabulary.load(mean.vocabulary).save(checkpoints / "vocabulary")
  step = mean.metadata["averaged"][-1]
  orbax_checkpoint.save_params(
    str(checkpoints), mean.config, mean.params, mean.metadata, step
  )
  if mean.dag is not None:  # fitted to the newest of the averaged checkpoints
    dag_settings.write(checkpoints / str(step), mean.dag)
  logging.info("%s is the mean of steps %s", output, mean.metadata["averaged"])


def _keep_cache(run: str, path: Path) -> None:
  """Sets `data.cache` in a copy of a run's configuration to the cache of the run."""
  if path.is_file():
    config = read_object(path)
    data = config.setdefault("data", {})
    data["cache"] = data.get("cache") or str(Path(run).absolute() / "cache")
    write_whole(path, json.dumps(config, indent=2) + "\n")


def mean_of_last(path: str, last: int) -> orbax_checkpoint.LoadedCheckpoint:
  """Reads the mean of the weights of a run's `last` newest checkpoints.

  Memory holds one checkpoint and the sum in float64. The metadata is that of the newest
  checkpoint, with the averaged steps under "averaged".

  Raises:
    UserError: the run has fewer checkpoints.
  """
  folder, steps = orbax_checkpoint.list_steps(path)
  if len(steps) < last:
    raise UserError(
      f"{path} has {len(steps)} checkpoints, not {last}: train with a higher "
      "checkpoint.max_to_keep, or average fewer"
    )
  chosen, total = steps[-last:], None
  for step in chosen:
    loaded = orbax_checkpoint.load(str(folder / str(step)))
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), loaded.params)
    total = wide if total is None else jax.tree.map(np.add, total, wide)
  params = jax.tree.map(lambda leaf: np.float32(leaf / last), total)
  return loaded._replace(params=params, metadata=loaded.metadata | {"averaged": chosen})
