# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps notes out of a run's log that would be said again and again."""

import contextlib
from collections.abc import Iterator

from absl import logging


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Lets errors alone through to the log."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)
