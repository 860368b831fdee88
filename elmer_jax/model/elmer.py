# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The whole model, and its parameters as a plain nested dict."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from elmer_jax.decoding.cpu.transposed_linear import FewRows
from elmer_jax.model import layers
from elmer_jax.model.config import ModelConfig
from elmer_jax.model.decoder import AfterLayer, Decoder, pass_on
from elmer_jax.model.encoder import Encoder
from elmer_jax.model.stack import unstack
from elmer_jax.tokenizer.special_ids import BOS_ID, PAD_ID

# Logit of the vocabulary's padding rows: far below any other, yet finite, so that
# differences of logits stay numbers.
PADDING_LOGIT = -1e9


class Head(NamedTuple):
  """The output head that all off-ramps share: logits = state · tableᵀ + bias."""

  table_VxD: jax.Array  # in the dtype of the computation
  bias_V: jax.Array  # float32
  # Added to the logits before the arg-max is taken, and to nothing else; float32.
  choice_shift_V: jax.Array


class Elmer(nnx.Module):
  """Encoder and bidirectional decoder around one tied token table."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    self.config = config
    rows = config.padded_vocabulary_size
    self.tokens = layers.table(config, rows, ("vocab", "embed"), rngs)
    # BART's `final_logits_bias`: a constant that files carry and training leaves alone.
    self.logits_bias = nnx.Param(jnp.zeros(rows, jnp.float32), axes=("vocab",))
    self.encoder = Encoder(config, rngs)
    self.decoder = Decoder(config, rngs)
    if config.soft_exit:
      self.soft_exit = _soft_exit_projection(config, rngs)

  def encode(
    self,
    source_ids_BxS: jax.Array,
    keys_B: jax.Array | None = None,
    mask_BxS: jax.Array | None = None,
  ) -> tuple[jax.Array, jax.Array]:
    """Returns the states [B, S, D] and the mask [B, S]: by default what is not PAD."""
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
    """Runs the decoder; see `Decoder`. Without a target mask all positions count."""
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

    The published soft exit counts the bias in the losses of all layers, but takes the
    arg-max without it below the last one; `choose_with_bias` tells which.
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
  """Returns W of `h ← W [h ; embedding of the prediction]`, started as [I ; 0].

  So it keeps the pre-trained function at first; a random start scrambles it.
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
def _abstract(
  config: ModelConfig, stacked: bool = True
) -> tuple[nnx.GraphDef, nnx.State]:
  def make() -> Elmer:
    model = Elmer(config, rngs=nnx.Rngs(0))
    return model if stacked else _rearrange(config, model)

  return nnx.split(nnx.eval_shape(make))


def initialise(config: ModelConfig, seed: int | jax.Array) -> dict:
  """Returns fresh parameters, a nested dict of float32 arrays."""
  model = Elmer(config, rngs=nnx.Rngs(jax.random.key(seed)))
  return nnx.to_pure_dict(nnx.state(model))


def bind(config: ModelConfig, params: dict) -> Elmer:
  """Returns the model of `params`, in either form (see `for_decoding`); traceable."""
  graph, abstract = _abstract(config, is_stacked(params))
  state = jax.tree.map(lambda leaf: leaf, abstract)
  nnx.replace_by_pure_dict(state, params)
  return nnx.merge(graph, state)


def is_stacked(params: dict) -> bool:
  """Tells which of the two forms of parameters these are: see `for_decoding`."""
  return 0 not in params["decoder"]["layers"]


def for_decoding(config: ModelConfig, params: dict) -> dict:
  """Returns the parameters as they are read fastest; traceable.

  Each layer's weights are arrays of their own, so that none is copied out of a stack,
  and q, k, v of self-attention are one product; on a CPU the decoder's also lie as few
  positions need them. `bind` takes them as it takes the others; nothing can be learnt
  in this form. The layers take their memory a second time.
  """
  model = _rearrange(config, bind(config, params))
  return nnx.to_pure_dict(nnx.state(model))


def _rearrange(config: ModelConfig, model: Elmer) -> Elmer:
  encoder, decoder = model.encoder, model.decoder
  encoder.layers = unstack(encoder.layers, config.encoder_layers)
  decoder.layers = unstack(decoder.layers, config.decoder_layers)
  for layer in encoder.layers:
    layer.attention.join()
  for layer in decoder.layers:
    layer.attention.join()
  if config.dtype == "bfloat16":
    _keep_rounded(model)
  if jax.default_backend() == "cpu":
    _expect_few_rows(model)  # now, since it takes over how weights were rounded
  return model


def _expect_few_rows(model: Elmer) -> None:
  """Turns the weights of what runs over target positions, not over the source's."""
  for layer in model.decoder.layers:
    layer.cross_attention.part_by_head()
    for module, name in (
      (layer.attention, "joint"),
      (layer.attention, "out"),
      (layer.cross_attention, "query"),
      (layer.cross_attention, "out"),
      (layer.feed_forward, "widen"),
      (layer.feed_forward, "narrow"),
    ):
      setattr(module, name, FewRows(getattr(module, name)))
  if model.config.soft_exit:
    model.soft_exit = FewRows(model.soft_exit)


def _keep_rounded(model: Elmer) -> None:
  """Rounds what products read once for all; on a CPU, what they give is float32.

  A CPU with such instructions multiplies bfloat16 about twice as fast as float32, but
  only where the sums are asked for as they are; rounded ones take it longer.
  """
  is_cpu = jax.default_backend() == "cpu"
  model.tokens = nnx.Param(model.tokens[...].astype(jnp.bfloat16))
  for _, module in nnx.iter_modules(model):
    if isinstance(module, nnx.Linear):
      module.kernel = nnx.Param(module.kernel[...].astype(jnp.bfloat16))
      module.preferred_element_type = jnp.float32 if is_cpu else None
    elif isinstance(module, nnx.LayerNorm) and is_cpu:
      module.dtype = jnp.float32


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
