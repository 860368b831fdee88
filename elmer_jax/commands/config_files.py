# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Configurations from files: Python files by name or path, config.json of a run."""

import difflib
import runpy
import traceback
from collections.abc import Collection, Mapping
from pathlib import Path

import ml_collections

from elmer_jax import configuration
from elmer_jax.configuration import Schema, flat_keys
from elmer_jax.core import json_files
from elmer_jax.core.errors import UserError

_PACKAGE = Path(configuration.__file__).parent


def folder() -> Path:
  """Returns the folder of the configurations that can be given by name.

  In a wheel it is a part of the package, in a checkout it is next to the package.
  """
  packaged = _PACKAGE / "configs"
  return packaged if packaged.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
  """Returns the names that `load` takes."""
  return sorted(path.stem for path in folder().glob("*.py") if path.stem != "__init__")


def load(name: str, schema: Schema) -> ml_collections.ConfigDict:
  """Reads a configuration file; keys that it doesn't set have their default.

  Args:
    name: of a file in `folder()`, without .py, or a path.
    schema: the kind of configuration it must be.

  Raises:
    UserError: there is no such file, it fails, or it sets something else.
  """
  path = _find(name)
  where = f"--config={name}"
  if path.suffix == ".json":
    raise UserError(
      f"{where}: a configuration is a Python file; for the run that this file belongs "
      f"to, --workdir={path.parent} alone is enough"
    )
  try:
    config = runpy.run_path(str(path))["get_config"]()
  except KeyError as error:
    reason = "no function get_config" if error.args == ("get_config",) else repr(error)
    raise UserError(f"{where}: {reason}") from error
  except UserError:
    raise
  except Exception as error:  # the file is a program: anything can happen
    lines = [
      entry.lineno
      for entry in traceback.extract_tb(error.__traceback__)
      if entry.filename == str(path)
    ]
    line = f", line {lines[-1]}" if lines else ""
    raise UserError(f"{where}{line}: {type(error).__name__}: {error}") from error
  if not isinstance(config, ml_collections.ConfigDict):
    raise UserError(f"{where}: get_config does not return a ConfigDict")
  return from_flat(flat_keys(config), schema, where)


def load_stored(path: Path, schema: Schema) -> ml_collections.ConfigDict:
  """Reads config.json of a run, also one that an older version wrote.

  There, keys may have old names, and a missing key has its default, which is what the
  older version did.

  Raises:
    UserError: it can't be read, or it isn't a configuration of this kind.
  """
  stored = json_files.read_object(path)
  try:
    flat = flat_keys(ml_collections.ConfigDict(stored))
  except (TypeError, ValueError, RecursionError) as error:
    raise json_files.damaged(path, str(error)) from None
  return from_flat({new_name(key) or key: flat[key] for key in flat}, schema, str(path))


def from_flat(
  values: Mapping[str, object], schema: Schema, where: str
) -> ml_collections.ConfigDict:
  """Returns the default configuration with some values changed.

  Args:
    values: by flat key, as "data.batch_size".
    schema: has the valid keys and the types of their values.
    where: the values come from, for the messages.

  Raises:
    UserError: a key doesn't exist, or a value has another type than its default.
  """
  config = schema.default()
  known = flat_keys(config)
  if values and not values.keys() & known.keys():
    raise UserError(f"{where} is a configuration for another command")
  for key, value in values.items():
    if problem := key_error(key, known):
      raise UserError(f"{where}: {problem}")
    *sections, name = key.split(".")
    section = config
    for inner in sections:
      section = section[inner]
    kind = type(section[name])
    try:
      section[name] = value
    except (TypeError, ValueError):
      value = None
    # A ConfigDict takes None for anything, and true for an integer.
    if value is None or isinstance(value, bool) != (kind is bool):
      raise UserError(f"{where}: {key} is not of type {kind.__name__}")
  return config


def key_error(key: str, known: Collection[str], prefix: str = "") -> str | None:
  """Returns what is wrong with a key, None if it is one of `known`.

  Args:
    key: without the prefix.
    known: the valid keys.
    prefix: that the message puts before every key.
  """
  if key in known:
    return None
  if renamed := new_name(key):
    return f"{prefix}{key} is now called {prefix}{renamed}"
  [near] = difflib.get_close_matches(key, known, n=1, cutoff=0)
  shown = key if len(key) <= 80 else f"{key[:80]}…"
  return f"{prefix}{shown} is not a configuration key. Did you mean {prefix}{near}?"


def new_name(key: str) -> str | None:
  """Returns the present name of a renamed key, with or without a run's prefix."""
  for old, new in configuration.RENAMED.items():
    if key == old or key.endswith(f".{old}"):
      return key.removesuffix(old) + new
  return None


def _find(name: str) -> Path:
  path = Path(name).expanduser()
  if path.is_file():
    return path
  own = folder() / f"{name.removesuffix('.py')}.py"
  if path.name == name and own.is_file():
    return own
  if path.exists():
    raise UserError(f"--config={name} is not a file")
  known = names()
  [near] = difflib.get_close_matches(path.stem, known, n=1, cutoff=0) or [""]
  raise UserError(
    f"--config={name}: there is no such file, nor a configuration of this name. Did "
    f"you mean {near}? There are {', '.join(known)}"
  )
