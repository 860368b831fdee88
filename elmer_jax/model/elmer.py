# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The whole model, and its parameters as a plain nested dict."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.model import layers
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.decoder import AfterLayer, Decoder, pass_on
from elmer_jax.model.encoder import Encoder
from elmer_jax.model.transitions import Transitions
from elmer_jax.tokenizer.special_ids import BOS_ID, PAD_ID

# Logit of the vocabulary's padding rows: far below all others, and finite, so that
# differences of logits are not NaN.
PADDING_LOGIT = -1e9


class Head(NamedTuple):
  """The output head, shared by all off-ramps: logits = state · tableᵀ + bias."""

  table_VxD: jax.Array  # in `config.dtype`
  bias_V: jax.Array  # float32
  # float32, added to the logits for the arg-max only
  choice_shift_V: jax.Array


class Elmer(nnx.Module):
  """Encoder and bidirectional decoder around one tied token table."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    self.config = config
    rows = config.padded_vocabulary_size
    self.tokens = layers.table(config, rows, ("vocab", "embed"), rngs)
    # BART's `final_logits_bias`: a constant of the checkpoint, not trained.
    self.logits_bias = nnx.Param(jnp.zeros(rows, jnp.float32), axes=("vocab",))
    self.encoder = Encoder(config, rngs)
    self.decoder = Decoder(config, rngs)
    if config.soft_exit:
      self.soft_exit = _soft_exit_projection(config, rngs)
    if config.transition_heads:
      self.transitions = Transitions(config, rngs)

  def encode(
    self,
    source_ids_BxS: jax.Array,
    keys_B: jax.Array | None = None,
    mask_BxS: jax.Array | None = None,
  ) -> tuple[jax.Array, jax.Array]:
    """Returns the states [B, S, D] and the mask [B, S], by default true but for PAD."""
    if mask_BxS is None:
      mask_BxS = source_ids_BxS != PAD_ID
    keys_B = layers.fold_in(keys_B, 0)
    return self.encoder(self.tokens[...], source_ids_BxS, mask_BxS, keys_B), mask_BxS

  def decode(
    self,
    decoder_ids_BxT: jax.Array,
    encoded_BxSxD: jax.Array,
    source_mask_BxS: jax.Array | None,
    target_mask_BxT: jax.Array | None = None,
    keys_B: jax.Array | None = None,
    after_layer: AfterLayer = pass_on,
    carry: object = None,
    causal: bool = False,
  ) -> tuple[jax.Array, object, object]:
    """Runs the decoder; see `Decoder`. The target mask is all true by default."""
    return self.decoder(
      self.tokens[...],
      decoder_ids_BxT,
      encoded_BxSxD,
      source_mask_BxS,
      target_mask_BxT,
      layers.fold_in(keys_B, 1),
      after_layer,
      carry,
      causal,
    )

  def head(self, choose_with_bias: bool | jax.Array = True) -> Head:
    """Returns the head; rows beyond the true vocabulary can't be predicted.

    The published soft exit has the bias in the losses of all layers, but takes the
    arg-max without it after all layers but the last: `choose_with_bias=False`.
    """
    real_V = jnp.arange(self.tokens.shape[0]) < self.config.vocabulary_size
    bias_V = jax.lax.stop_gradient(self.logits_bias[...])
    return Head(
      self.tokens[...].astype(self.config.dtype),
      jnp.where(real_V, bias_V, PADDING_LOGIT),
      jnp.where(real_V & ~jnp.asarray(choose_with_bias), -bias_V, 0.0),
    )

  def blank_target(self, batch: int, length: int) -> jax.Array:
    """Returns the decoder's usual input [B, T]: BOS, MASK, MASK, …"""
    blank_T = jnp.full(length, self.config.mask_id, jnp.int32).at[0].set(BOS_ID)
    return jnp.broadcast_to(blank_T[None], (batch, length))


def _soft_exit_projection(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Linear:
  """Returns W of `h ← W [h ; embedding of the prediction]`, initialised as [I ; 0].

  Fine-tuning so starts from the pre-trained function.
  """

  def keep_state(key, shape, dtype):
    del key
    return jnp.eye(*shape, dtype=dtype)

  return nnx.Linear(
    2 * config.d_model,
    config.d_model,
    use_bias=False,
    dtype=jnp.dtype(config.dtype),
    kernel_init=nnx.with_metadata(keep_state, axes=("heads", "embed")),
    rngs=rngs,
  )


@functools.lru_cache
def _abstract(config: ModelConfig) -> tuple[nnx.GraphDef, nnx.State]:
  return nnx.split(nnx.eval_shape(lambda: Elmer(config, rngs=nnx.Rngs(0))))


def initialise(config: ModelConfig, seed: int | jax.Array) -> dict:
  """Returns fresh parameters, a nested dict of float32 arrays."""
  model = Elmer(config, rngs=nnx.Rngs(jax.random.key(seed)))
  return nnx.to_pure_dict(nnx.state(model))


def bind(config: ModelConfig, params: dict) -> Elmer:
  """Returns the model with these parameters; can be traced."""
  graph, abstract = _abstract(config)
  state = jax.tree.map(lambda leaf: leaf, abstract)
  nnx.replace_by_pure_dict(state, params)
  return nnx.merge(graph, state)


def logical_axes(config: ModelConfig) -> dict:
  """Returns the parameters' logical axes, a nested dict of tuples of names.

  Parameters of stacked layers have "layers" in front.
  """
  _, abstract = _abstract(config)

  def axes(variable: nnx.Variable) -> tuple[str, ...]:
    names = variable.get_metadata("axes")
    return ("layers",) * (len(variable.shape) - len(names)) + tuple(names)

  return nnx.to_pure_dict(
    jax.tree.map(
      lambda variable: variable.replace(axes(variable)),
      abstract,
      is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
    )
  )
