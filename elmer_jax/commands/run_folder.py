# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A run's folder and the configuration that it belongs to, its config.json."""

import json
from pathlib import Path

import ml_collections

from elmer_jax.commands import config_files
from elmer_jax.configuration import RUN, Schema, flat_keys
from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError

CONFIG = "config.json"


def claim_run_folder(
  config: ml_collections.ConfigDict, workdir: str, schema: Schema = RUN
) -> None:
  """Makes the folder and writes config.json, or checks that it is a run of `config`.

  Args:
    config: of the run, or of a comparison.
    workdir: its folder.
    schema: of `config`.

  Raises:
    UserError: it can't be written, or it belongs to another configuration.
  """
  folder = Path(workdir)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(
      f"--workdir={workdir} can't be written ({error.strerror}): choose another"
    ) from error
  if has_work(workdir):
    _check_same(config, workdir, schema)
  write_whole(folder / CONFIG, json.dumps(config.to_dict(), indent=2) + "\n")


def read_config(workdir: str, schema: Schema = RUN) -> ml_collections.ConfigDict | None:
  """Returns the configuration that a folder belongs to, None if there is none.

  Raises:
    UserError: config.json can't be read, or is of another kind.
  """
  path = Path(workdir) / CONFIG
  return config_files.load_stored(path, schema) if path.is_file() else None


def has_work(workdir: str) -> bool:
  """Tells whether a folder has anything beside config.json.

  A first start that ends in an error before it has prepared anything leaves config.json
  alone, which the next start may replace.
  """
  folder = Path(workdir)
  return folder.is_dir() and any(
    path.name != CONFIG and not path.name.startswith(".") for path in folder.iterdir()
  )


def differences(
  stored: ml_collections.ConfigDict, config: ml_collections.ConfigDict, schema: Schema
) -> dict[str, tuple[object, object]]:
  """Returns the keys that define a run and differ: {key: (stored, given)}."""
  theirs, ours = flat_keys(stored), flat_keys(config)
  return {
    key: (theirs[key], ours[key])
    for key in sorted(ours)
    if theirs[key] != ours[key] and not key.startswith(schema.may_change)
  }


def _check_same(
  config: ml_collections.ConfigDict, workdir: str, schema: Schema
) -> None:
  stored = read_config(workdir, schema)
  found = differences(stored, config, schema) if stored else {}
  if found:
    listed = "; ".join(
      f"{key} is {given!r}, stored is {value!r}"
      for key, (value, given) in found.items()
    )
    raise UserError(f"--workdir={workdir} belongs to another configuration: {listed}")
