# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The sizes and options of a model."""

import dataclasses
import difflib

from elmer_jax.core.errors import UserError
from elmer_jax.core.ranges import Range, check_ranges

# What is kept of a layer for the backward pass; the rest is computed again. Each name
# keeps less than the one before it.
REMAT = (
  "none",  # everything
  "dots",  # the outputs of all matrix products, including attention scores
  "projections",  # the outputs of products with parameters
  "layer",  # the layer's input
)


_LAYERS, _WIDTHS, _TOKENS = Range(1, 4096), Range(1, 2**20), Range(1, 2**24)

# The range of each number.
RANGES = {
  "vocabulary_size": _TOKENS,
  "vocabulary_multiple": _TOKENS,
  "encoder_layers": _LAYERS,
  "decoder_layers": _LAYERS,
  "d_model": _WIDTHS,
  "encoder_heads": _WIDTHS,
  "decoder_heads": _WIDTHS,
  "encoder_feed_forward": _WIDTHS,
  "decoder_feed_forward": _WIDTHS,
  "positions": _TOKENS,
  "transition_heads": Range(0, 1024),
  "transition_window": Range(0, 2**20),
  "dropout": Range(0, 1, without=(1,)),
  "init_stddev": Range(0, 100),
  "head_chunk": _TOKENS,
}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """Sizes of the encoder-decoder; the defaults are the published base model.

  `vocabulary_size` is the true size. Tables are padded to a multiple of
  `vocabulary_multiple`, so that the tensor axis of a mesh divides them; the padding is
  never predicted. MASK is the last true id, as in BART.
  """

  vocabulary_size: int = 50265
  vocabulary_multiple: int = 128
  encoder_layers: int = 6
  decoder_layers: int = 6
  d_model: int = 768
  encoder_heads: int = 12
  decoder_heads: int = 12
  encoder_feed_forward: int = 3072
  decoder_feed_forward: int = 3072
  positions: int = 1024  # the longest source or target
  dropout: float = 0.1
  # Of every matrix and table. BART's value suits widths near 768; a narrow model learns
  # to use its source late unless it starts near d_model**-0.5.
  init_stddev: float = 0.02
  norm: str = "post"  # "post" as BART, or "pre", for higher learning rates
  scale_embedding: bool = False  # token embeddings times sqrt(d_model)
  soft_exit: bool = False  # whether there is a soft-exit projection
  transition_heads: int = 0  # of the directed acyclic decoder; 0: no transitions
  transition_window: int = 0  # successors of a vertex
  dtype: str = "float32"  # of activations; parameters are always float32
  remat: str = "none"  # one of REMAT
  head_chunk: int = 8192  # tokens of the vocabulary whose logits exist at one time

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value, kind = getattr(self, field.name), type(field.default)
      is_of_kind = isinstance(value, (int, float) if kind is float else kind)
      is_of_kind &= isinstance(value, bool) == (kind is bool)
      _require(is_of_kind, f"model.{field.name} must be of type {kind.__name__}", value)
    check_ranges(dataclasses.asdict(self), RANGES, "model.")
    _require(
      self.norm in ("post", "pre"), "model.norm must be 'post' or 'pre'", self.norm
    )
    _require(
      self.dtype in ("float32", "bfloat16"),
      "model.dtype must be 'float32' or 'bfloat16'",
      self.dtype,
    )
    if self.remat not in REMAT:
      [near] = difflib.get_close_matches(self.remat, REMAT, n=1, cutoff=0)
      rule = f"model.remat must be one of {', '.join(REMAT)} (did you mean {near}?)"
      _require(False, rule, self.remat)
    for side in ("encoder", "decoder"):
      heads = getattr(self, f"{side}_heads")
      _require(
        self.d_model % heads == 0,
        f"model.{side}_heads must divide model.d_model ({self.d_model})",
        heads,
      )
    if self.transition_heads:
      _require(
        self.d_model % self.transition_heads == 0,
        f"objective.transition_heads must divide model.d_model ({self.d_model})",
        self.transition_heads,
      )

  @property
  def mask_id(self) -> int:
    return self.vocabulary_size - 1

  @property
  def padded_vocabulary_size(self) -> int:
    multiple = self.vocabulary_multiple
    return -(-self.vocabulary_size // multiple) * multiple


def _require(holds: bool, rule: str, found: object) -> None:
  if not holds:
    raise UserError(f"{rule}; it is {found!r}")
