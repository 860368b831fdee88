# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Compiled programs, kept on disk between processes."""

import os
from pathlib import Path

import jax


def cache_programs() -> None:
  """Turns on JAX's persistent compilation cache, in the user's cache folder.

  `JAX_COMPILATION_CACHE_DIR` names another folder.
  """
  home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
  if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    jax.config.update("jax_compilation_cache_dir", str(home / "elmer_jax" / "programs"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
