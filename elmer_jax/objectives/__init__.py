# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Objectives: from a model and a batch to a loss and its metrics.

lplm              pre-training: each token is predicted at a drawn exit layer
soft_exit         fine-tuning: each layer passes its prediction upward
hard_exit         fine-tuning: as lplm, for tokens that exit at a confident layer
last_layer        fine-tuning: plain NAR, one loss at the last layer
dag               fine-tuning: paths through a directed acyclic graph of positions
masked_diffusion  fine-tuning: masked tokens are predicted from revealed ones
autoregressive    BART's: each token is predicted from those before it
"""

import ml_collections

from elmer_jax.core.errors import UserError
from elmer_jax.objectives import (
  autoregressive,
  dag,
  hard_exit,
  last_layer,
  lplm,
  masked_diffusion,
  soft_exit,
)
from elmer_jax.objectives.objective import Objective

NAMES = (
  "lplm",
  "soft_exit",
  "hard_exit",
  "last_layer",
  "dag",
  "masked_diffusion",
  "autoregressive",
)
_WITHOUT_GLANCING = ("lplm", "dag", "masked_diffusion", "autoregressive")
_WITHOUT_SMOOTHING = ("lplm", "dag", "masked_diffusion")


def get(config: ml_collections.ConfigDict) -> Objective:
  """Returns the objective that `config.objective` describes.

  Raises:
    UserError: the name is unknown, or an option is out of range or for other
    objectives.
  """
  _check_options(config.objective)
  match config.objective.name:
    case "lplm":
      return lplm.make()
    case "soft_exit":
      return soft_exit.make(config.objective)
    case "hard_exit":
      return hard_exit.make(config.objective)
    case "last_layer":
      return last_layer.make(config.objective)
    case "dag":
      return dag.make(config.objective)
    case "masked_diffusion":
      return masked_diffusion.make(config.objective)
    case "autoregressive":
      return autoregressive.make(config.objective)
    case unknown:
      raise UserError(
        f"objective.name must be one of {', '.join(NAMES)}; not {unknown!r}"
      )


def _check_options(options: ml_collections.ConfigDict) -> None:
  """Refuses options that the objective would ignore."""
  if options.glancing and options.name in _WITHOUT_GLANCING:
    raise UserError(
      "objective.glancing is for soft_exit, hard_exit and last_layer, which decode a "
      f"blank target; objective.name is {options.name}"
    )
  if options.label_smoothing and options.name in _WITHOUT_SMOOTHING:
    raise UserError(
      "objective.label_smoothing is for objectives with one cross-entropy per token; "
      f"objective.name is {options.name}"
    )
