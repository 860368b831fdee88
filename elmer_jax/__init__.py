# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""ELMER in JAX: non-autoregressive text generation with early exits.

    import elmer_jax
    model = elmer_jax.load("WORKDIR")
    results = elmer_jax.generate(model, ["some text"], target_length=64)

The names are resolved on first use, so importing the package loads neither JAX nor
TensorFlow.
"""

import importlib

_HOME_OF = {
  "load": "elmer_jax.generation.api",
  "generate": "elmer_jax.generation.api",
  **dict.fromkeys(
    (
      "NoExit",
      "SoftExit",
      "HardExit",
      "Depth",
      "Gated",
      "DagViterbi",
      "DagLookahead",
      "DagGreedy",
      "MaskPredict",
      "Autoregressive",
    ),
    "elmer_jax.decoding.strategies",
  ),
}

__version__ = "0.1.0"
__all__ = list(_HOME_OF)


def __getattr__(name: str):
  if name in _HOME_OF:
    return getattr(importlib.import_module(_HOME_OF[name]), name)
  raise AttributeError(f"module 'elmer_jax' has no attribute {name!r}")
