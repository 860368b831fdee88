# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The number of floating-point operations of the model.

Matrix products alone, a multiply-add as two operations, for one example of S source and
T target positions, padding included:

  encoder    Lₑ · (8·S·D² + 4·S²·D + 4·S·D·Fₑ)
  memory     L · 4·S·D²                      keys and values of the cross-attention
  decoder    L · (12·T·D² + 4·T²·D + 4·T·S·D + 4·T·D·F)
  head       heads · 2·T·D·V                 heads: L for soft exit, else 1
  soft exit  (L - 1) · 4·T·D²                the projection W [h ; E(prediction)]
  graph      8·P·D² + 4·P·W·D + 4·P·H·D + 2·P·(T + 1)·D

A self-attention is four projections (8·T·D²), scores (2·T²·D) and the mixture of values
(2·T²·D); a feed-forward 4·T·D·F. The decoder's 12·T·D² are those four projections and
the cross-attention's queries and output. Causal attention counts as full attention. V
is the true size of the vocabulary. Autoregressive training has T + 1 positions, since
it predicts BOS as well.

With the objective `dag` the decoder and its heads have P positions in place of T. The
graph is what that objective adds: queries and keys of the transitions (8·P·D²), the
scores of 2·W successors, of which W are in the window (4·P·W·D), H gates, and the
logits of the target's tokens and of EOS at each vertex. Soft exit on the graph has L
heads; the losses of lower layers (`layer_loss`) are not counted.

Training is three times the forward pass, as the backward pass has two products for each
of its products. Recomputation (remat, the chunked head) is not counted. These are the
conventions of PaLM's appendix B (arXiv 2204.02311), in which model FLOPs utilisation is
usually given.
"""

from typing import NamedTuple

from elmer_jax.model.config import ModelConfig


class Flops(NamedTuple):
  """Floating-point operations of one example's forward pass, by part."""

  encoder: int
  memory: int
  decoder: int
  head: int
  soft_exit: int
  graph: int = 0

  @property
  def forward(self) -> int:
    return sum(self)

  @property
  def training(self) -> int:
    """Operations of the forward and the backward pass."""
    return 3 * self.forward


def of_example(
  config: ModelConfig,
  objective: str,
  source_length: int,
  target_length: int,
  decoder_positions: int | None = None,
) -> Flops:
  """Counts the operations for one example; the formula is at the top of this file.

  Args:
    config: the model.
    objective: its name, one of `objectives.NAMES`.
    source_length: S.
    target_length: T, without the BOS that autoregressive training puts in front.
    decoder_positions: P, for the objective `dag`; by default T.
  """
  source, target = source_length, decoder_positions or target_length
  if objective == "autoregressive":
    target += 1
  width, depth = config.d_model, config.decoder_layers
  is_soft = config.soft_exit and objective in ("soft_exit", "dag")
  encoder_layer = (
    8 * source * width**2
    + 4 * source**2 * width
    + 4 * source * width * config.encoder_feed_forward
  )
  decoder_layer = (
    12 * target * width**2
    + 4 * target**2 * width
    + 4 * target * source * width
    + 4 * target * width * config.decoder_feed_forward
  )
  head = 2 * target * width * config.vocabulary_size
  return Flops(
    encoder=config.encoder_layers * encoder_layer,
    memory=depth * 4 * source * width**2,
    decoder=depth * decoder_layer,
    head=depth * head if is_soft else head,
    soft_exit=(depth - 1) * 4 * target * width**2 if is_soft else 0,
    graph=_graph(config, target, target_length) if objective == "dag" else 0,
  )


def _graph(config: ModelConfig, vertices: int, target_length: int) -> int:
  per_vertex = (
    8 * config.d_model
    + 4 * min(config.transition_window, vertices)
    + 4 * config.transition_heads
    + 2 * (target_length + 1)
  )
  return vertices * per_vertex * config.d_model
