# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Compares ways to generate questions from an answer and its context (SQuAD 1.1, the
splits of Du et al.): autoregressive and in one pass, with and without exits, each with
and without pre-training on Wikipedia.

    python -m elmer_jax.compare --config=compare_squad_qg --workdir=DIR \\
        --config.finetune.data.files='squad/*.jsonl' \\
        --config.pretrain.data.files='wikipedia/*.jsonl.zst'

Without files both sets are read as `tfds build` leaves them. The model is the small one
of configs/quickstart.py. Two CPU cores, some hours for all rows.
"""

from elmer_jax import configuration


def get_config():
  config = configuration.comparison()
  pretrain, finetune = config.pretrain, config.finetune
  for part in (pretrain, finetune):
    configuration.make_small(part)
    part.data.update({"vocabulary_size": 4096, "num_workers": 2, "batch_size": 16})
    part.model.dropout = 0.0  # few texts come twice
    part.optimizer.name = "muon"
  pretrain.data.task = "wikipedia_lplm"
  # Fewer texts of twice the quickstart's length: positions beyond 64 are learned.
  pretrain.data.update({"source_length": 128, "target_length": 128, "batch_size": 8})
  pretrain.optimizer.learning_rate = 4e-3
  pretrain.train.update({"steps": 1200, "log_every": 100, "eval_every": 400})
  pretrain.train.eval_batches = 32
  pretrain.checkpoint.every = 150
  finetune.data.task = "squad_question_generation"
  # The answer comes first: truncation takes the end of a long context.
  finetune.data.update({"source_length": 128, "target_length": 32})
  finetune.optimizer.learning_rate = 3e-3
  finetune.train.update({"steps": 600, "log_every": 100, "eval_every": 300})
  finetune.train.eval_batches = 32
  finetune.objective.glancing_ramp = 300  # half of the steps
  finetune.evaluate.examples = 2000  # of 11,877, as beam search is slow
  finetune.checkpoint.every = 50  # the last five are averaged for one row
  return config
