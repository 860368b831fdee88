# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Examples a CPU-second of LPLM training with and without the encoder's padding.

    python benchmarks/source_padding.py [--lengths=512,448,416 --batch_size=2]

Steps of the model of configs/pretrain_base.py in float32, without rematerialisation,
whose sources have rows of these lengths (`data.corrupted_length`); targets have 512
positions. The steps of all lengths alternate. CPU-seconds change less with other work
on the machine than seconds. The last line is JSON: all rounds, and the median ratios to
the first length.
"""

import json
import statistics
import time

import jax
import numpy as np
from absl import app, flags

from elmer_jax import configuration, objectives
from elmer_jax.commands import config_files
from elmer_jax.parallel import sharding
from elmer_jax.parallel.mesh import make_mesh
from elmer_jax.tokenizer.special_ids import BOS_ID
from elmer_jax.training.optimizer import make_optimizer
from elmer_jax.training.step import make_program

_LENGTHS = flags.DEFINE_list("lengths", "512,448,416", "Lengths of the source rows.")
_BATCH = flags.DEFINE_integer("batch_size", 2, "Rows of a batch.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Steps of each length.", 1)


def main(argv: list[str]) -> None:
  del argv
  config = config_files.load("pretrain_base", configuration.RUN)
  config.model.update({"dtype": "float32", "remat": "none"})
  config.train.grad_accumulation_steps = 1
  config.data.batch_size = _BATCH.value
  steps = {length: make_step(config, int(length)) for length in _LENGTHS.value}
  rates = {length: [] for length in steps}
  for turn in range(_ROUNDS.value + 1):
    for length, step in steps.items():
      start = time.process_time()
      step()
      if turn:  # the first compiles
        rates[length].append(_BATCH.value / (time.process_time() - start))
  first, *_ = rates
  ratios = {
    length: statistics.median(np.divide(found, rates[first]))
    for length, found in rates.items()
  }
  print(json.dumps({"examples a CPU-second": rates, "ratio": ratios}))


def make_step(config, length: int):
  """Returns a function that does one training step with sources of `length` ids."""
  mesh = make_mesh(config)
  model_config = configuration.model_config(config, config.data.vocabulary_size)
  program = make_program(
    model_config, objectives.get(config), *make_optimizer(config), mesh, config
  )
  rng = np.random.default_rng(0)
  sizes = {"source_ids": length, "target_ids": config.data.target_length}
  batch = {
    name: rng.integers(4, 50_000, (_BATCH.value, size), np.int32)
    for name, size in sizes.items()
  }
  batch["source_ids"][:, 0] = BOS_ID
  state = program.init(0)

  def step() -> None:
    nonlocal state
    with jax.set_mesh(mesh):
      sharded = sharding.global_batch(mesh, batch)
      state, metrics = program.train_step(state, sharded, 0)
      jax.block_until_ready(metrics)

  return step


if __name__ == "__main__":
  app.run(main)
