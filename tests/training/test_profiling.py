# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The steps that `profile` names."""

import pytest
import tiny

from elmer_jax import configuration
from elmer_jax.core.errors import UserError


@pytest.mark.parametrize("steps", ["5:4", "0", "2:7", "a", "1:2:3", "1-2"])
def test_invalid_steps_are_refused(steps):
  config = tiny.configure()
  config.profile = steps
  with pytest.raises(UserError, match="must be steps from 1 to train.steps .6."):
    configuration.check(config)


@pytest.mark.parametrize(("steps", "found"), [("", []), ("6", [6]), ("2:4", [2, 3, 4])])
def test_ranges_are_inclusive(steps, found):
  config = tiny.configure()
  config.profile = steps
  assert list(configuration.profiled_steps(config)) == found
