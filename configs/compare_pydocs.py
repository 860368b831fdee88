# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Compares ways to summarize docstrings: autoregressive and in one pass, with and
without exits, each with and without pre-training.

    python -m elmer_jax.compare --config=compare_pydocs --workdir=DIR

The model, the data and the pre-training of configs/quickstart.py; no data are needed.
Two CPU cores, some hours for all rows.
"""

from elmer_jax import configuration


def get_config():
  config = configuration.comparison()
  pretrain, finetune = config.pretrain, config.finetune
  for part in (pretrain, finetune):
    configuration.make_small(part)
    part.data.update({"vocabulary_size": 4096, "num_workers": 2, "batch_size": 16})
    part.model.dropout = 0.0  # no window comes twice, hardly any pair does
    part.optimizer.name = "muon"
  pretrain.data.update({"source_length": 64, "target_length": 64})
  pretrain.optimizer.learning_rate = 4e-3
  pretrain.train.update({"steps": 1200, "log_every": 100, "eval_every": 400})
  pretrain.train.eval_batches = 16
  pretrain.checkpoint.every = 150
  finetune.data.task = "pydocs_summary"
  finetune.data.update({"source_length": 64, "target_length": 32})
  finetune.optimizer.learning_rate = 3e-3
  finetune.train.update({"steps": 700, "log_every": 100, "eval_every": 350})
  finetune.train.eval_batches = 27  # all of the validation split
  finetune.objective.glancing_ramp = 350  # half of the steps
  finetune.checkpoint.every = 50  # the last five are averaged for one row
  return config
