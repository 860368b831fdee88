# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Paths that a user gives: on the command line or in a configuration."""

import os
import re

from elmer_jax.core.errors import UserError


def local_path(path: str, name: str) -> str:
  """Returns a path with `~` expanded.

  Args:
    path: as the user gave it.
    name: of the flag or key, for the message.

  Raises:
    UserError: it is empty or a URL.
  """
  if not path or "\0" in path:
    raise UserError(f"{name}={path} is not a path")
  if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
    raise UserError(
      f"{name}={path} is a URL: only paths of a file system can be used, which may be "
      "a mounted bucket"
    )
  return os.path.expanduser(path)
