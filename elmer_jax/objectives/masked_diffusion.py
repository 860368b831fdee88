# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Masked diffusion: the decoder predicts masked tokens from those that are revealed.

For each text the number of masked tokens is drawn uniformly from 1 to all, then the
tokens. The loss is the mean cross-entropy of the masked tokens, times the text's
length: in expectation a bound on -log p(text), since it is that of predicting the
tokens one by one in a random order (Hoogeboom et al., 2022, arXiv 2110.02037). Masking
in the decoder is that of conditional masked language models (CMLM, Ghazvininejad et
al., 2019, arXiv 1904.09324). With all tokens masked it is plain one-pass training, so
one pass is the first step of a decoding that refines its text in several.

A worked row in which 2 of 4 tokens are masked; each is weighted by 4 / 2:

    target           the   cat   sat   EOS   PAD
    decoder input    BOS   cat   MASK  EOS   MASK
    scored           yes   no    yes   no    no
"""

import jax
import jax.numpy as jnp
import ml_collections

from elmer_jax.model import layers
from elmer_jax.model.elmer import Elmer
from elmer_jax.objectives import objective
from elmer_jax.objectives.glancing import draw_revealed
from elmer_jax.objectives.objective import Objective, Sums
from elmer_jax.tokenizer.special_ids import PAD_ID


def loss(
  model: Elmer, batch: dict, keys_B: jax.Array, step: jax.Array | int, train: bool
) -> Sums:
  """Sums the weighted cross-entropy of the masked tokens; see `objective.Loss`."""
  del step
  targets_BxT = batch["target_ids"]
  real_BxT = targets_BxT != PAD_ID
  masked_BxT = draw_masked(keys_B, real_BxT)
  encoded = objective.encode(model, batch, keys_B, train)
  blank_BxT = model.blank_target(*targets_BxT.shape)
  hidden_BxTxD, _, _ = model.decode(
    jnp.where(real_BxT & ~masked_BxT, targets_BxT, blank_BxT),
    encoded.states_BxSxD,
    encoded.mask_BxS,
    keys_B=encoded.keys_B,
  )
  scored_BxT = jnp.where(masked_BxT, targets_BxT, PAD_ID)
  output = objective.read_off_ramp(model, hidden_BxTxD, scored_BxT)
  masked_B = jnp.maximum(masked_BxT.sum(-1, keepdims=True), 1)
  weights_BxT = masked_BxT * real_BxT.sum(-1, keepdims=True) / masked_B
  return Sums(
    loss=(output.nll * weights_BxT).sum(),
    tokens=real_BxT.sum().astype(jnp.float32),
    metrics={"accuracy": (output.is_correct * weights_BxT).sum()},
  )


def draw_masked(keys_B: jax.Array, real_BxT: jax.Array) -> jax.Array:
  """Draws the masked positions of each text: bool [B, T], at least one if it has any.

  Args:
    keys_B: one random key per row.
    real_BxT: bool, the positions with a token.
  """
  length_B = real_BxT.sum(-1)
  share_B = jax.vmap(jax.random.uniform)(layers.fold_in(keys_B, objective.MASKED))
  # From 0 to length - 1 tokens are revealed.
  return real_BxT & ~draw_revealed(keys_B, real_BxT, jnp.floor(share_B * length_B))


def make(options: ml_collections.ConfigDict) -> Objective:
  """Returns the objective; its lower off-ramps are untrained."""
  del options
  return objective.with_layer_metrics(loss)
