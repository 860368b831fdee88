# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Rates per chip, and model FLOPs utilisation for chips with a known peak."""

import jax
import pytest
import tiny

from elmer_jax.model import flops
from elmer_jax.parallel import chips
from elmer_jax.training.throughput import Throughput


def test_utilisation_is_for_known_chips_only(monkeypatch):
  config, sizes = tiny.configure(), tiny.model_config()
  unknown = Throughput(config, sizes).per_chip(2.0, 800.0)
  assert "mfu" not in unknown and "device_memory_peak_gib" not in unknown
  monkeypatch.setattr(chips, "of_kind", lambda kind: chips.V4)
  found = Throughput(config, sizes).per_chip(2.0, 800.0)
  flops_per_step = 8 * flops.of_example(sizes, "lplm", 16, 12).training
  count = jax.device_count()
  assert found["tokens_per_second_per_chip"] == 800 / count
  assert found["mfu"] == pytest.approx(2 * flops_per_step / count / 275e12)
