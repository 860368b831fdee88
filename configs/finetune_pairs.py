# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes a small ELMER on your own pairs of source and target, as a DAG.

    python -m elmer_jax.train --config=finetune_pairs --workdir=DIR \\
        --config.data.files='a.jsonl,b.tsv' --config.init_from=PRETRAINED

JSONL, CSV, TSV or Parquet with `source` and `target`; data.source_field and
data.target_field give other names. About one pair in 50 is held out for validation,
unless data.validation_files names others; `evaluate` scores the texts generated for
those, or for the pairs of data.test_files. PRETRAINED is the workdir of a pre-training,
such as one of configs/pretrain_text.py, or a Hugging Face folder; it gives weights,
sizes and vocabulary. Without init_from the model has the sizes below and random
weights, and a vocabulary is trained on the pairs. Sized for a laptop or one small GPU:
minutes.
"""

from elmer_jax import configuration


def get_config():
  config = configuration.default()
  config.data.task = "text_pairs"
  config.data.update({"source_length": 128, "target_length": 32, "batch_size": 32})
  config.data.update({"vocabulary_size": 4096, "num_workers": 2})
  configuration.make_small(config)
  config.model.dropout = 0.1
  config.objective.name = "dag"
  config.optimizer.update({"learning_rate": 1e-3, "warmup_steps": 100})
  config.train.update({"steps": 1000, "log_every": 50, "eval_every": 250})
  config.checkpoint.every = 250
  return config
