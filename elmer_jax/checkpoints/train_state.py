# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The state of a training run: what a checkpoint stores."""

from typing import NamedTuple

import jax
import optax


class State(NamedTuple):
  """Everything that a training run carries from step to step."""

  step: jax.Array  # [] int32, updates made
  params: dict  # nested dict of float32 arrays
  opt_state: optax.OptState
