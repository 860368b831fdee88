# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What every test runs under: eight devices made of the CPU, and strict shapes.

The settings are environment variables, so that the commands which tests start as
processes of their own have them too.
"""

import os
import shutil
import tempfile


def pytest_configure(config):
  markers = config.getoption("-m")
  if "gpu" in markers.replace("not gpu", ""):
    # JAX takes three quarters of the accelerator's memory otherwise.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
  else:
    os.environ["JAX_PLATFORMS"] = "cpu"
  # Given flags go last, so they override these. The programs of tests run for
  # milliseconds: a third of the suite's time would go into optimising them.
  flags = [
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
  ]
  os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")]).strip()
  os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  # Programs that several tests compile are compiled once in a session, or once for all
  # sessions that are given the same folder.
  config.programs = None
  if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    config.programs = tempfile.mkdtemp(prefix="elmer_jax-programs-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = config.programs
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"


def pytest_unconfigure(config):
  if config.programs:
    shutil.rmtree(config.programs, ignore_errors=True)
