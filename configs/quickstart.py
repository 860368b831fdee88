# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Pre-trains a small ELMER on the docstrings of the installed Python packages.

    python -m elmer_jax.train --config=quickstart --workdir=W/pretrain

The first part of `launch/quickstart.sh`; no data are needed. Two CPU cores, about five
minutes. docs/results.md has the losses to expect.
"""

from elmer_jax import configuration


def get_config():
  config = configuration.default()
  config.data.update(
    {"vocabulary_size": 4096, "source_length": 64, "target_length": 64}
  )
  config.data.update({"batch_size": 16, "num_workers": 2})
  configuration.make_small(config)
  config.model.dropout = 0.0  # no window comes twice
  config.optimizer.update({"name": "muon", "learning_rate": 4e-3})
  config.train.update({"steps": 1200, "log_every": 100, "eval_every": 300})
  config.train.eval_batches = 16
  config.checkpoint.every = 150
  return config
