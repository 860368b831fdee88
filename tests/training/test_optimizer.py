# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What each optimizer does to which parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from elmer_jax.core.errors import UserError
from elmer_jax.model import elmer
from elmer_jax.training.optimizer import make_optimizer


def test_muon_orthogonalises_projections_and_nothing_else():
  config = tiny.configure(optimizer__name="muon", optimizer__weight_decay=0.0)
  optimizer, _ = make_optimizer(config)
  params = elmer.initialise(tiny.model_config(), 0)
  rng = np.random.default_rng(0)
  grads = jax.tree.map(lambda leaf: jnp.float32(rng.normal(size=leaf.shape)), params)
  updates, _ = optimizer.update(grads, optimizer.init(params), params)
  update = np.asarray(updates["encoder"]["layers"]["feed_forward"]["up_proj"]["kernel"])
  values = np.linalg.svd(update, compute_uv=False)  # of each layer's matrix
  assert values.max() / values.min() < 2
  table = np.linalg.svd(np.asarray(updates["tokens"]), compute_uv=False)
  assert table.max() / table.min() > 2


def test_unknown_optimizers_are_refused():
  with pytest.raises(
    UserError, match="optimizer.name must be one of adamw, adafactor, muon; not 'sgd"
  ):
    make_optimizer(tiny.configure(optimizer__name="sgd"))
