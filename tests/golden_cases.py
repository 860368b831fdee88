# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The numeric outputs of the published code, as models and arrays of ours.

Two small random models with biases, norms and a padding row that are all different
from their usual starts, so that a forgotten term shows.
"""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from elmer_jax.checkpoints.huggingface.bart_names import from_bart
from elmer_jax.model.config import ModelConfig

FOLDER = Path(__file__).parent / "golden"
CASES = ("case_a", "case_b")
TOLERANCE = 5e-5  # absolute; the references' own float32 error is up to 2e-5


@functools.cache
def arrays(case: str, file: str) -> dict[str, np.ndarray]:
  with np.load(FOLDER / case / f"{file}.npz") as file:
    return dict(file)


@functools.cache
def config(case: str, soft_exit: bool = False) -> ModelConfig:
  bart = json.loads((FOLDER / case / "config.json").read_text())
  return ModelConfig(
    vocabulary_size=bart["vocab_size"],
    vocabulary_multiple=16,
    encoder_layers=bart["encoder_layers"],
    decoder_layers=bart["decoder_layers"],
    d_model=bart["d_model"],
    encoder_heads=bart["encoder_attention_heads"],
    decoder_heads=bart["decoder_attention_heads"],
    encoder_feed_forward=bart["encoder_ffn_dim"],
    decoder_feed_forward=bart["decoder_ffn_dim"],
    positions=bart["max_position_embeddings"],
    dropout=0.0,
    scale_embedding=bart["scale_embedding"],
    soft_exit=soft_exit,
    head_chunk=64,
  )


def params(case: str, soft_exit: bool = False) -> dict:
  weights = from_bart(arrays(case, "params").__getitem__, config(case, soft_exit))
  return jax.tree.map(jnp.asarray, weights)


def gradients(case: str, file: str, run: str, soft_exit: bool = False) -> dict:
  """The gradients of one run, by our names; a tensor without one has zeros."""
  tensors = {
    name.removeprefix(f"{run}/"): value
    for name, value in arrays(case, file).items()
    if name.startswith(f"{run}/") or not run
  }
  bias = np.zeros((1, config(case).vocabulary_size), np.float32)
  tensors["final_logits_bias"] = bias
  return from_bart(tensors.__getitem__, config(case, soft_exit))
