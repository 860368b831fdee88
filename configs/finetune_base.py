# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes weights of BART's or ELMER's base size, with the published recipe.

    python -m elmer_jax.train --config=finetune_base --workdir=DIR \\
        --config.init_from=FOLDER --config.data.task=TASK [--config.data.files=FILES]

FOLDER is a Hugging Face folder, or a run of configs/pretrain_base.py; it gives weights,
sizes and vocabulary. TASK is a public set, such as xsum, or any name together with
FILES of your own pairs. Hardware: an accelerator. Only a few steps were made with it so
far, on a CPU, so there is no time and no score to expect. configs/finetune_pairs.py is
a small sibling that runs on a laptop.
"""

from elmer_jax import configuration


def get_config():
  config = configuration.default()
  config.data.task = "xsum"
  config.data.update({"source_length": 512, "target_length": 64, "batch_size": 32})
  config.data.num_workers = 8
  config.objective.name = "soft_exit"
  # Adam, 2e-5 from the first step on.
  config.optimizer.update({"learning_rate": 2e-5, "schedule": "constant"})
  config.optimizer.update({"warmup_steps": 0, "b2": 0.999, "weight_decay": 0.0})
  config.train.update({"steps": 20_000, "log_every": 50, "eval_every": 1000})
  config.train.eval_batches = 64
  config.checkpoint.every = 1000
  return config
