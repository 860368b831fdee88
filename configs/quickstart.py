# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Pre-trains a small ELMER on the docstrings of the installed Python packages.

    python -m elmer_jax.train --config=configs/quickstart.py --workdir=W/pretrain

What `launch/quickstart.sh` runs first.
"""

from elmer_jax import configuration


def get_config():
  config = configuration.default()
  config.data.update(
    {"vocabulary_size": 4096, "source_length": 64, "target_length": 64}
  )
  config.data.update({"batch_size": 16, "processes": 2})
  config.model.update({"encoder_layers": 3, "decoder_layers": 3, "d_model": 128})
  config.model.update({"encoder_heads": 4, "decoder_heads": 4})
  config.model.update({"encoder_feed_forward": 512, "decoder_feed_forward": 512})
  # Few updates: pre-norm bears the higher rate, and no window is seen twice.
  config.model.update({"norm": "pre", "dropout": 0.0, "positions": 128})
  config.model.init_stddev = config.model.d_model**-0.5
  config.optimizer.update({"learning_rate": 2e-3, "warmup_steps": 100})
  config.train.update({"steps": 1500, "log_every": 100, "eval_every": 300})
  config.train.eval_batches = 16
  config.checkpoint.every = 150
  return config
