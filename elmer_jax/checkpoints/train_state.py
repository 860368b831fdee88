# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The state of a training run, which a checkpoint stores."""

from typing import NamedTuple

import jax
import optax


class TrainState(NamedTuple):
  """What a training step reads and returns."""

  step: jax.Array  # [] int32, completed steps
  params: dict  # nested dict of float32 arrays
  opt_state: optax.OptState
