# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Errors of the libraries that read and write checkpoints, in one line."""

import re

from etils import epath

from elmer_jax.checkpoints.steps import DamagedCheckpoint
from elmer_jax.core.errors import UserError

# What may be wrong with a whole checkpoint.
_NO_DAMAGE = re.compile(
  "RESOURCE_EXHAUSTED|PERMISSION_DENIED|UNAVAILABLE|Too many open"
)


def failure(path: epath.Path, error: BaseException) -> UserError:
  """Returns the error for what Orbax raised while it read `path`."""
  causes = _causes(error)
  is_damage = not any(
    isinstance(cause, MemoryError | PermissionError) or _NO_DAMAGE.search(str(cause))
    for cause in causes
  )
  if is_damage:
    return DamagedCheckpoint(f"{path} is damaged: {reason(error)}")
  return UserError(f"{path} can't be read: {reason(error)}")


def reason(error: BaseException) -> str:
  """Returns the first cause of a library's error in one line, without its details."""
  cause = _causes(error)[-1]
  text = " ".join(f"{type(cause).__name__}: {cause}".split())
  return re.split(r" \[|\. See full| <bound method", text)[0][:300]


def _causes(error: BaseException | None) -> list[BaseException]:
  causes = []
  while error is not None and error not in causes:
    causes.append(error)
    error = error.__cause__ or error.__context__
  return causes
