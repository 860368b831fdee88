# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are written completely or not at all."""

import contextlib
import os
import pathlib
import re
import secrets
import socket
import stat
from collections.abc import Iterator

from elmer_jax.core.errors import UserError

_MAX_LINKS = 40  # as Linux has it
# What is here is no file but one that a process has opened: /dev/stdout links to it.
_DESCRIPTORS = re.compile(r"/proc/.*/fd|/dev/fd")


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary path, which is renamed to `path` when the block ends.

  A link is followed, and a file that is replaced keeps its mode and its owner. A
  device, a named pipe or an open descriptor can't be replaced: `path` is yielded then.

  Raises:
    UserError: the folder can't be made or written to, or `path` is a folder.
  """
  temporary = None
  try:
    target = _follow_links(path)
    if not _is_replaceable(target):
      yield target
      return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _make_temporary(target)
    made = temporary.stat()
    yield temporary
    _set_owner_and_mode(temporary, made)  # a library may have made the file again
    temporary.replace(target)
  except OSError as error:
    raise UserError(f"{path} can't be written: {error.strerror or error}") from None
  finally:
    if temporary:
      with contextlib.suppress(OSError):
        temporary.unlink()


def write_whole(path: pathlib.Path, text: str) -> None:
  """Writes a text file in UTF-8; it raises what `replacing` raises."""
  with replacing(path) as temporary:
    temporary.write_text(text, "utf-8")


def _follow_links(path: pathlib.Path) -> pathlib.Path:
  """Returns what a path links to, which need not exist, or an open descriptor."""
  for _ in range(_MAX_LINKS):
    folder = os.path.realpath(path.parent)
    if _DESCRIPTORS.fullmatch(folder) or not path.is_symlink():
      return path
    path = pathlib.Path(folder, os.readlink(path))
  raise OSError("too many links")


def _is_replaceable(path: pathlib.Path) -> bool:
  if _DESCRIPTORS.fullmatch(os.path.realpath(path.parent)):
    return False
  if path.is_dir():
    raise IsADirectoryError(None, "it is a folder")
  return path.is_file() or not path.exists()


def _make_temporary(path: pathlib.Path) -> pathlib.Path:
  """Makes an empty file beside `path` that nobody else has, nor could have guessed."""
  # Process ids repeat from host to host, and in every container.
  unique = f"{socket.gethostname()}-{secrets.token_hex(8)}"
  temporary = path.with_name(f".{path.name[:40]}.{unique}")
  os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
  if path.exists():
    _set_owner_and_mode(temporary, path.stat())
  return temporary


def _set_owner_and_mode(path: pathlib.Path, like: os.stat_result) -> None:
  with contextlib.suppress(OSError):  # only root may give a file away
    os.chown(path, like.st_uid, like.st_gid)
  path.chmod(stat.S_IMODE(like.st_mode))
