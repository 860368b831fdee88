# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The mean of the weights of a run's last checkpoints, as a run of its own.

It costs a run no memory and no time, as a running mean beside the weights would, and
how many are averaged can be chosen afterwards.
"""

import shutil
from pathlib import Path

import jax
import numpy as np
from absl import logging

from elmer_jax.checkpoints import orbax_checkpoint
from elmer_jax.core.errors import UserError
from elmer_jax.tokenizer.bpe import Vocabulary

# What tells of the run; the report needs it.
_ABOUT = ("config.json", "metrics.jsonl", "timing.json")


def average(run: str, output: str, last: int) -> None:
  """Writes the mean of a run's `last` newest checkpoints as a run of its own.

  Raises:
    UserError: the run has fewer, or `output` exists or can't be made.
  """
  folder = Path(output)
  if folder.exists():
    raise UserError(f"--output={output} exists already: name a new folder")
  mean = mean_of_last(run, last)
  try:
    folder.mkdir(parents=True)
  except OSError as error:
    raise UserError(f"--output={output} can't be made: {error.strerror}") from None
  for name in _ABOUT:
    if (Path(run) / name).is_file():
      shutil.copy(Path(run) / name, folder / name)
  checkpoints = orbax_checkpoint.folder_of(output)
  Vocabulary.load(mean.vocabulary).save(checkpoints / "vocabulary")
  step = mean.metadata["averaged"][-1]
  orbax_checkpoint.write_weights(
    str(checkpoints), mean.config, mean.params, mean.metadata, step
  )
  logging.info("%s has the mean of updates %s", output, mean.metadata["averaged"])


def mean_of_last(path: str, last: int) -> orbax_checkpoint.Loaded:
  """Reads the mean of the weights of a run's `last` newest checkpoints.

  One at a time is in memory, beside their sum in float64. Its metadata is the newest
  one's, with their numbers under "averaged".

  Raises:
    UserError: there are fewer.
  """
  folder, steps = orbax_checkpoint.steps_of(path)
  if len(steps) < last:
    raise UserError(
      f"{path} has {len(steps)} checkpoints, not {last}: set checkpoint.max_to_keep "
      "higher for the training, or average fewer"
    )
  chosen, total = steps[-last:], None
  for step in chosen:
    loaded = orbax_checkpoint.load(str(folder / str(step)))
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), loaded.params)
    total = wide if total is None else jax.tree.map(np.add, total, wide)
  params = jax.tree.map(lambda leaf: np.float32(leaf / last), total)
  return loaded._replace(params=params, metadata=loaded.metadata | {"averaged": chosen})
