# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The published model and recipe: BART-base shape, 4,096 sequences of 512 a step.

    python -m elmer_jax.train --config=pretrain_base --workdir=DIR \\
        --config.data.files='wikipedia/*.jsonl.zst,books/*.jsonl.zst' \\
        --config.data.vocabulary=FOLDER

FOLDER holds BART's vocab.json and merges.txt. Hardware: a pod or a node of GPUs. The
published run took 80,000 steps on 16 GB of Wikipedia and BookCorpus; it was not
repeated with this code yet, so there is no time and no score to expect.
configs/quickstart.py is a small sibling that runs on a laptop.
"""

from elmer_jax import configuration


def get_config():
  config = configuration.default()
  config.data.task = "text_lplm"
  config.data.update({"batch_size": 4096, "source_length": 512, "target_length": 512})
  config.data.num_workers = 8
  config.data.vocabulary_size = 50_265  # BART's
  config.model.update({"dtype": "bfloat16", "remat": "layer"})
  # Adam, 2e-5 from the first step on, clipping at 2.0, no weight decay.
  config.optimizer.update({"learning_rate": 2e-5, "schedule": "constant"})
  config.optimizer.update({"warmup_steps": 0, "b2": 0.999, "weight_decay": 0.0})
  config.optimizer.clip_norm = 2.0
  config.train.update({"steps": 80_000, "log_every": 50, "eval_every": 2000})
  config.train.grad_accumulation_steps = 4
  config.checkpoint.update({"every": 1000, "max_to_keep": 3})
  return config
