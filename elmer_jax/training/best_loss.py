# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The lowest validation loss of a run, and how long ago it was."""

import math


class BestLoss:
  """Follows the validation loss over all starts of a run.

  Attributes:
    evaluations_since: evaluations since the one with the lowest loss.
  """

  def __init__(self, metadata: dict):
    """Continues from a checkpoint's metadata; {} for a new run."""
    found = metadata.get("best_validation_loss")
    self._lowest = math.inf if found is None else found
    self.evaluations_since = metadata.get("evaluations_since_best", 0)

  def add(self, loss: float) -> bool:
    """Takes the loss of an evaluation; returns whether it is the lowest so far."""
    is_lowest = loss < self._lowest
    self._lowest = loss if is_lowest else self._lowest
    self.evaluations_since = 0 if is_lowest else self.evaluations_since + 1
    return is_lowest

  def metadata(self) -> dict:
    """Returns what a checkpoint stores, as JSON."""
    return {
      "best_validation_loss": self._lowest if self._lowest < math.inf else None,
      "evaluations_since_best": self.evaluations_since,
    }
