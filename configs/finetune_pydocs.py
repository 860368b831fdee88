# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes the small ELMER to summarize docstrings, as a directed acyclic graph.

    python -m elmer_jax.train --config=finetune_pydocs --workdir=W/finetune \\
        --config.init_from=W/pretrain

From a signature and the rest of a docstring to its first sentence. W/pretrain is a run
of configs/quickstart.py, which gives weights and vocabulary. A part of
`launch/quickstart.sh`; two CPU cores, some minutes.
"""

from elmer_jax import configuration


def get_config():
  config = configuration.default()
  config.data.task = "pydocs_summary"
  # The signature comes first, so truncation loses little; 19 of 20 targets fit.
  config.data.update({"source_length": 64, "target_length": 32, "batch_size": 16})
  config.data.update({"vocabulary_size": 4096, "num_workers": 2})
  configuration.make_small(config)
  config.model.dropout = 0.0  # hardly any pair comes twice
  config.objective.name = "dag"
  config.optimizer.update({"name": "muon", "learning_rate": 3e-3})
  config.train.update({"steps": 1800, "log_every": 100, "eval_every": 300})
  config.train.eval_batches = 27  # all of the validation split
  config.checkpoint.every = 250
  return config
