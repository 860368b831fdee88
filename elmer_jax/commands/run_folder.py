# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A run's folder: whose it is, and whether it can be written."""

import json
from collections.abc import Callable
from pathlib import Path

import ml_collections

from elmer_jax import configuration
from elmer_jax.configuration import flat_keys, new_name
from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError


def claim(
  config: ml_collections.ConfigDict,
  workdir: str,
  may_change: tuple[str, ...] = configuration.MAY_CHANGE,
  default: Callable[[], ml_collections.ConfigDict] = configuration.default,
) -> None:
  """Makes the folder, or checks that it belongs to this configuration.

  Args:
    config: of the run, or of a comparison.
    workdir: its folder.
    may_change: beginnings of the keys that may differ from those stored there.
    default: gives the values of keys that an older version didn't store.

  Raises:
    UserError: if it can't be written, or a key that defines the run differs.
  """
  folder = Path(workdir)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".writable"
    probe.touch()
    probe.unlink()
  except OSError as error:
    raise UserError(
      f"--workdir={workdir} can't be written ({error.strerror}): choose another"
    ) from error
  path = folder / "config.json"
  if path.exists():
    _compare(config, json.loads(path.read_text()), workdir, may_change, default)
  write_whole(path, json.dumps(config.to_dict(), indent=2) + "\n")


def _compare(config, stored: dict, workdir: str, may_change, default) -> None:
  # A run of an older version did what is now the default of a key it didn't have.
  ours = flat_keys(config)
  theirs = flat_keys(default())
  stored_keys = flat_keys(ml_collections.ConfigDict(stored))
  theirs |= {new_name(key) or key: value for key, value in stored_keys.items()}
  differing = [
    f"{key} {theirs.get(key)!r} there, {ours.get(key)!r} here"
    for key in sorted(ours.keys() | theirs.keys())
    if ours.get(key) != theirs.get(key) and not key.startswith(may_change)
  ]
  if differing:
    raise UserError(
      f"--workdir={workdir} belongs to another configuration: {'; '.join(differing)}"
    )
