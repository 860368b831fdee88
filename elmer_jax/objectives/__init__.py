# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Objectives: from decoder states to a loss and its metrics.

lplm            pre-training: every token at a layer of its own
soft_exit       fine-tuning: every layer hands its guess upward
hard_exit       fine-tuning: as lplm, for tokens that leave where a layer is sure
last_layer      fine-tuning: plain NAR, one loss at the top
autoregressive  BART's: each token from those before it
"""

import ml_collections

from elmer_jax.core.errors import UserError
from elmer_jax.objectives import autoregressive, hard_exit, last_layer, lplm, soft_exit
from elmer_jax.objectives.objective import Objective

NAMES = ("lplm", "soft_exit", "hard_exit", "last_layer", "autoregressive")


def get(config: ml_collections.ConfigDict) -> Objective:
  """Returns the objective that `config.objective` describes.

  Raises:
    UserError: there is no such objective, or an option is out of range or not its own.
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
    case "autoregressive":
      return autoregressive.make(config.objective)
    case unknown:
      raise UserError(f"objective.name is one of {', '.join(NAMES)}; not {unknown!r}")


def _check_options(options: ml_collections.ConfigDict) -> None:
  """Refuses what an objective would leave undone."""
  if options.glancing and options.name in ("lplm", "autoregressive"):
    raise UserError(
      "objective.glancing is for soft_exit, hard_exit and last_layer, which decode a "
      f"blank target; objective.name is {options.name}"
    )
  if options.label_smoothing and options.name == "lplm":
    raise UserError(
      "objective.label_smoothing is for fine-tuning; objective.name is lplm"
    )
