# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are written completely or not at all."""

import contextlib
import pathlib
import secrets
import socket
from collections.abc import Iterator

from elmer_jax.core.errors import UserError


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary path, which is renamed to `path` when the block ends.

  Raises:
    UserError: the folder can't be made or written to.
  """
  # Process ids repeat from host to host, and in every container.
  unique = f"{socket.gethostname()}-{secrets.token_hex(4)}"
  temporary = path.with_name(f".{path.name}.{unique}")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    yield temporary
    temporary.replace(path)
  except OSError as error:
    raise UserError(f"{path} can't be written: {error.strerror or error}") from None
  finally:
    with contextlib.suppress(OSError):
      temporary.unlink()


def write_whole(path: pathlib.Path, text: str) -> None:
  """Writes a text file in UTF-8; it raises what `replacing` raises."""
  with replacing(path) as temporary:
    temporary.write_text(text, "utf-8")
