# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Trains a small ELMER with twelve decoder layers to correct spelling, for exits.

    python -m elmer_jax.train --config=finetune_spelling --workdir=W/deep
    python -m elmer_jax.calibrate --workdir=W/deep --trim=1 --loss=0.7
    echo 'A sentense with a typo.' | python -m elmer_jax.generate \\
        --checkpoint=W/deep --exit=gated

Sentences of docstrings with typos in some words → the original sentences. Half of the
rows run through all layers, so that later layers are worth something; half lose
positions after their text, so that a gate may drop them. Two CPU cores, about an hour.
"""

from elmer_jax import configuration


def get_config():
  config = configuration.default()
  config.data.task = "pydocs_spelling"
  config.data.update({"source_length": 64, "target_length": 64, "batch_size": 8})
  config.data.update({"vocabulary_size": 4096, "num_workers": 2})
  configuration.make_small(config)
  config.model.update({"decoder_layers": 12, "d_model": 192, "dropout": 0.0})
  config.model.update({"encoder_feed_forward": 768, "decoder_feed_forward": 768})
  config.model.init_stddev = config.model.d_model**-0.5
  config.objective.update({"name": "hard_exit", "full_depth": 0.5})
  config.objective.dropped = 0.5
  config.optimizer.update({"name": "muon", "learning_rate": 4e-3})
  config.train.update({"steps": 2000, "log_every": 50, "eval_every": 500})
  config.train.eval_batches = 8
  config.checkpoint.every = 100
  return config
