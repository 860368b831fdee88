# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A GPU that JAX can't use is not passed over in silence."""

import pathlib
import types

import pytest

from elmer_jax.parallel import chips


@pytest.mark.parametrize(
  ("platforms", "has_gpu", "warns"),
  [("", True, True), ("cpu", True, False), ("", False, False)],
)
def test_an_unused_gpu_is_a_warning(platforms, has_gpu, warns, monkeypatch, caplog):
  config = types.SimpleNamespace(jax_platforms=platforms)
  on_cpu = types.SimpleNamespace(config=config, default_backend=lambda: "cpu")
  monkeypatch.setattr(chips, "jax", on_cpu)
  monkeypatch.setattr(pathlib.Path, "exists", lambda path: has_gpu)
  chips.warn_of_unused_gpu()
  assert ("bash launch/install.sh cuda" in caplog.text) == warns
