# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A model and batches small enough for every test."""

import numpy as np

from elmer_jax import configuration
from elmer_jax.model.config import ModelConfig
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID, PAD_ID


def configure(**changes):
  """Returns a small configuration; `changes` are 'data__batch_size=8'."""
  config = configuration.default()
  sizes = {
    "encoder_layers": 2,
    "decoder_layers": 3,
    "d_model": 32,
    "encoder_heads": 4,
    "decoder_heads": 4,
    "encoder_feed_forward": 64,
    "decoder_feed_forward": 64,
    "positions": 40,
  }
  config.model.update(sizes)
  config.data.update({"batch_size": 8, "source_length": 16, "target_length": 12})
  config.data.vocabulary_size = 300
  config.optimizer.warmup_steps = 2
  config.train.update({"steps": 6, "log_every": 2, "eval_every": 3, "eval_batches": 2})
  config.checkpoint.every = 2
  for name, value in changes.items():
    section, key = name.split("__")
    config[section][key] = value
  return config


def model_config(vocabulary_size: int = 90, **changes) -> ModelConfig:
  return configuration.model_config(configure(**changes), vocabulary_size)


def batch(rows: int = 8, source: int = 16, target: int = 12, seed: int = 0) -> dict:
  """Returns a batch of random ids, each row with a length of its own."""
  rng = np.random.default_rng(seed)

  def ids(length: int, first: int | None) -> np.ndarray:
    array = np.full((rows, length), PAD_ID, np.int32)
    for row in array:
      end = int(rng.integers(length // 2, length))
      row[:end] = rng.integers(4, 89, end)
      row[end] = EOS_ID
      if first is not None:
        row[0] = first
    return array

  return {"source_ids": ids(source, BOS_ID), "target_ids": ids(target, None)}
