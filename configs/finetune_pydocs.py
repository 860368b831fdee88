# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes the small ELMER to sum up docstrings, with soft exit.

    python -m elmer_jax.train --config=configs/finetune_pydocs.py \\
        --workdir=W/finetune --config.init_from=W/pretrain

From a signature and the rest of a docstring to its first sentence. W/pretrain is a run
of configs/quickstart.py, which gives the weights and the vocabulary; without init_from
both are made anew.
"""

from elmer_jax import configuration


def get_config():
  config = configuration.default()
  config.data.task = "pydocs_summary"
  # The signature stands first, so a cut takes little away; 19 of 20 targets fit.
  config.data.update({"source_length": 96, "target_length": 32, "batch_size": 32})
  config.data.update({"vocabulary_size": 4096, "processes": 2})
  # As in configs/quickstart.py, whose weights have to fit in.
  config.model.update({"encoder_layers": 3, "decoder_layers": 3, "d_model": 128})
  config.model.update({"encoder_heads": 4, "decoder_heads": 4})
  config.model.update({"encoder_feed_forward": 512, "decoder_feed_forward": 512})
  config.model.update({"norm": "pre", "positions": 128})
  # Every pair is seen a few times, other than the windows of pre-training.
  config.model.dropout = 0.1
  config.objective.name = "soft_exit"
  config.optimizer.update({"learning_rate": 1e-3, "warmup_steps": 100})
  config.train.update({"steps": 2000, "log_every": 100, "eval_every": 500})
  config.train.eval_batches = 13  # all of the validation split
  config.checkpoint.every = 250
  return config
