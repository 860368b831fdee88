# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A folder has one writer at a time.

The writer holds a lock of the operating system on a file in the folder, which ends with
the process, however that ends. The file says who holds it.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from elmer_jax.core.errors import UserError

_NAME = ".lock"


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
  """Holds the lock of a folder, which is made if it is missing.

  Raises:
    UserError: another process holds it, or the folder can't be written.
  """
  path = Path(folder) / _NAME
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _acquire(path)
  except BlockingIOError:
    raise UserError(
      f"{folder} is in use by {_owner(path)}: wait until it has ended, or stop it"
    ) from None
  except OSError as error:
    raise UserError(
      f"{folder} can't be written ({error.strerror}): choose another folder"
    ) from None
  try:
    yield
  finally:
    with contextlib.suppress(OSError):
      path.unlink()
    os.close(file)


def _acquire(path: Path) -> int:
  """Returns the descriptor of the locked file."""
  while True:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      if _is_at(path, file):
        if os.fstat(file).st_size:
          logging.info("%s has ended: its lock is taken over", _owner(path))
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
        return file
    except BaseException:
      os.close(file)
      raise
    os.close(file)  # the last owner has just removed it


def _is_at(path: Path, file: int) -> bool:
  try:
    return os.path.samestat(os.stat(path), os.fstat(file))
  except FileNotFoundError:
    return False


def _owner(path: Path) -> str:
  try:
    return path.read_text("utf-8", "replace")[:200] or "another process"
  except OSError:
    return "another process"
