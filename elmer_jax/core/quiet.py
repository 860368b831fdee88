# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps messages that help nobody out of the log."""

import contextlib
import gc
import glob
import importlib
import logging as python_logging
import os
import sys
import tempfile
from collections.abc import Iterator

from absl import logging

_ANY_TPU = {"TPU_ACCELERATOR_TYPE": "v5litepod-4", "TPU_WORKER_HOSTNAMES": "localhost"}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Logs errors only, as long as the block runs."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)


@contextlib.contextmanager
def hidden_coroutines() -> Iterator[None]:
  """Hides what Python prints about coroutines that a failed library call left."""
  shown, loop_logger = sys.unraisablehook, python_logging.getLogger("asyncio")
  level = loop_logger.level
  sys.unraisablehook = lambda _: None
  loop_logger.setLevel(python_logging.CRITICAL + 1)
  try:
    yield
    gc.collect()  # otherwise they would end, and complain, after the block
  finally:
    sys.unraisablehook = shown
    loop_logger.setLevel(level)


def quiet_native_libraries() -> None:
  """Lets TensorFlow and XLA report fatal errors only; call it before JAX is imported.

  JAX sets another level where none is set. Where libtpu is installed but there is no
  TPU, it would complain of what it doesn't know about one.
  """
  settings = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
  if not [*glob.glob("/dev/accel*"), *glob.glob("/dev/vfio/*")]:
    settings |= _ANY_TPU
  for name, value in settings.items():
    os.environ.setdefault(name, value)


def import_seqio() -> None:
  """Imports seqio and TensorFlow without their messages.

  While they are loaded, TensorFlow's libraries report, whatever the level, that they
  found no GPU. If the import fails, everything that they wrote is shown.
  """
  if "seqio" in sys.modules:
    return
  with _hidden_standard_error():
    importlib.import_module("seqio")


@contextlib.contextmanager
def _hidden_standard_error() -> Iterator[None]:
  """Hides what is written to file descriptor 2, unless the block fails."""
  sys.stderr.flush()
  with tempfile.TemporaryFile() as hidden:
    shown = os.dup(2)
    os.dup2(hidden.fileno(), 2)
    try:
      yield
    except BaseException:
      hidden.seek(0)
      os.write(shown, hidden.read())
      raise
    finally:
      sys.stderr.flush()
      os.dup2(shown, 2)
      os.close(shown)
