# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Paths that a user gives, on the command line or in a configuration, and file names.

Every path of a user goes through `local_path`, every file name that is read from a file
through `is_plain_name`.
"""

import os
import re

from elmer_jax.core.errors import UserError

_MAX_NAME_BYTES = 200  # file systems allow 255, and suffixes are added to names


def local_path(path: str | os.PathLike, name: str) -> str:
  """Returns a path with `~` expanded.

  Args:
    path: as the user gave it.
    name: of the flag or key, for the message.

  Raises:
    UserError: it is empty, a URL, no path at all, or it can't be reached.
  """
  if not isinstance(path, (str, os.PathLike)):
    raise UserError(f"{name}={path!r} is not a path")
  path = os.fspath(path)
  if not path:
    raise UserError(f"{name}= is empty: it must be a path")
  if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
    raise UserError(
      f"{name}={path} is a URL: only paths of a file system can be used, which may be "
      "a mounted bucket"
    )
  expanded = os.path.expanduser(path)
  try:
    os.stat(expanded)
  except (FileNotFoundError, NotADirectoryError):
    pass  # it may be about to be made
  except OSError as error:
    raise UserError(f"{name}={path} can't be reached: {error.strerror}") from None
  except ValueError:  # a NUL byte, or a lone surrogate
    raise UserError(f"{name}={path!r} is not a path") from None
  return expanded


def is_plain_name(name: object) -> bool:
  """Returns whether something is the name of a file or folder, without any path."""
  return (
    isinstance(name, str)
    and name not in ("", ".", "..")
    and not re.search("[/\0]", name)
    and len(name.encode("utf-8", "replace")) <= _MAX_NAME_BYTES
  )
