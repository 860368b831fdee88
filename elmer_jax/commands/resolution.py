# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The configuration of a run, made once from everything that determines it.

In this order: the defaults, the configuration file or, without one, the configuration
stored in the run's folder, the keys on the command line, the sizes and the vocabulary
of `init_from`; then it is checked.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections
from absl import flags, logging
from ml_collections import config_flags

from elmer_jax import configuration
from elmer_jax.commands import config_files, run_folder
from elmer_jax.configuration import RUN, Schema, flat_keys
from elmer_jax.core import paths
from elmer_jax.core.errors import UserError


class Resolved(NamedTuple):
  """What the command line says of a run."""

  config: ml_collections.ConfigDict
  workdir: str  # "" where the command has none
  arguments: list[str]  # the rest: the program's name and the command's own flags


def resolve(
  argv: Sequence[str], schema: Schema = RUN, has_workdir: bool = True
) -> Resolved:
  """Takes `--config`, `--config.KEY` and `--workdir` from a command line.

  Args:
    argv: the program's name and its arguments.
    schema: the kind of configuration that the command takes.
    has_workdir: whether the command has the flag `--workdir`.

  Raises:
    UserError: a flag is missing or wrong, or the configuration can't be used.
    flags.Error: a value can't be parsed.
  """
  names = ("config", "workdir") if has_workdir else ("config",)
  given, arguments = _take(argv, names)
  path, workdir = given["config"], given.get("workdir")
  if has_workdir and workdir is None:
    raise UserError("--workdir is missing: the folder of the run")
  workdir = paths.local_path(workdir, "--workdir") if has_workdir else ""
  stored = run_folder.read_config(workdir, schema) if has_workdir else None
  if path:
    config = config_files.load(path, schema)
  elif stored:
    config = copy.deepcopy(stored)
  elif has_workdir:
    raise UserError(
      f"--config is missing: {workdir} is not the folder of a run, as it has no "
      f"{run_folder.CONFIG}"
    )
  else:
    raise UserError("--config is missing: the name or the path of a configuration")
  overrides, arguments = _override(config, arguments)
  if stored and not path:
    _check_may_change(stored, config, workdir, schema)
  begun = stored if stored and run_folder.has_work(workdir) else None
  for prefix in schema.runs:
    part = _part(config, prefix)
    _expand_paths(part, prefix)
    own = {
      key.removeprefix(prefix): value
      for key, value in overrides.items()
      if key.startswith(prefix)
    }
    use_init_from(part, own, begun and _part(begun, prefix), prefix)
  if schema is RUN:
    configuration.check(config)
    if has_workdir and config.data.task in configuration.OWN_TASKS:
      _require_files(config)
  return Resolved(config, workdir, arguments)


def use_init_from(
  config: ml_collections.ConfigDict,
  overrides: Mapping[str, Any] | None = None,
  stored: ml_collections.ConfigDict | None = None,
  prefix: str = "",
) -> None:
  """Sets sizes and vocabulary to those of the weights that `init_from` names.

  A vocabulary that the configuration names is kept.

  Args:
    config: of a run; it is changed.
    overrides: flat keys that were set on the command line.
    stored: the configuration of an earlier start of the run. If it started from the
      same weights, it has their sizes, and the weights need not be there any more.
    prefix: of the keys, for messages.

  Raises:
    UserError: there are no weights, or `overrides` contradict their sizes.
  """
  if not config.init_from:
    return
  from elmer_jax.checkpoints import orbax_checkpoint

  if stored and stored.init_from == config.init_from:
    known = flat_keys(stored)
    keys = [_key_of(name) for name in orbax_checkpoint.size_names()]
    sizes = {key: known[key] for key in keys if key not in (overrides or {})}
    vocabulary = stored.data.vocabulary
  else:
    found = orbax_checkpoint.read_sizes(config.init_from)
    sizes = {_key_of(name): value for name, value in found.items()}
    vocabulary = str(orbax_checkpoint.vocabulary_folder(config.init_from))
    _check_sizes(config, sizes, overrides or {}, prefix)
  config.update_from_flattened_dict(sizes)
  config.data.vocabulary = config.data.vocabulary or vocabulary


def _key_of(size: str) -> str:
  return "data.vocabulary_size" if size == "vocabulary_size" else f"model.{size}"


def _check_sizes(
  config: ml_collections.ConfigDict,
  sizes: Mapping[str, Any],
  overrides: Mapping[str, Any],
  prefix: str,
) -> None:
  """Refuses sizes set by hand that contradict `sizes`; logs what is replaced."""
  where = f"{prefix}init_from={config.init_from}"
  wrong = [
    f"--config.{prefix}{key} is {overrides[key]!r}, not {value!r}"
    for key, value in sizes.items()
    if overrides.get(key, value) != value
  ]
  if wrong:
    raise UserError(f"{where} has other sizes: {'; '.join(wrong)}")
  if config.data.vocabulary:
    from elmer_jax.tokenizer.bpe import Vocabulary

    size = Vocabulary.load(config.data.vocabulary).size
    if size != sizes["data.vocabulary_size"]:
      raise UserError(
        f"{where} has another vocabulary: {prefix}data.vocabulary="
        f"{config.data.vocabulary} has {size} ids, not {sizes['data.vocabulary_size']}"
      )
  configured = flat_keys(config)
  replaced = [
    f"{prefix}{key} {value!r} instead of {configured[key]!r}"
    for key, value in sizes.items()
    if configured[key] != value
  ]
  if replaced:
    logging.info("sizes of %s: %s", where, ", ".join(replaced))


def _take(argv: Sequence[str], names: Sequence[str]) -> tuple[dict, list[str]]:
  """Returns the values of some flags, by default None, and the other arguments."""
  values = flags.FlagValues()
  values.set_gnu_getopt()
  for name in names:
    flags.DEFINE_string(name, None, "", flag_values=values)
  rest = values(list(argv), known_only=True)
  return {name: values[name].value for name in names}, rest


def _override(
  config: ml_collections.ConfigDict, arguments: list[str]
) -> tuple[dict[str, Any], list[str]]:
  """Sets the keys that `--config.KEY` names; returns them and the other arguments."""
  known = flat_keys(config)
  for argument in arguments[1:]:
    key = re.match(r"--?(?:no)?config\.([^=]+)", argument)
    if key and (problem := config_files.key_error(key[1], known, "--config.")):
      raise UserError(problem)
  values = flags.FlagValues()
  values.set_gnu_getopt()
  config_flags.DEFINE_config_dict(
    "config", config, flag_values=values, sys_argv=arguments
  )
  rest = values(arguments, known_only=True)
  overrides = dict(values["config"].override_values)
  config.update_from_flattened_dict(overrides)
  return overrides, rest


def _check_may_change(
  stored: ml_collections.ConfigDict,
  config: ml_collections.ConfigDict,
  workdir: str,
  schema: Schema,
) -> None:
  """Refuses keys on the command line that define a run which has begun."""
  if not run_folder.has_work(workdir):
    return
  found = run_folder.differences(stored, config, schema)
  if found:
    listed = "; ".join(
      f"--config.{key} is {given!r}, stored is {value!r}"
      for key, (value, given) in found.items()
    )
    raise UserError(f"the run in {workdir} can't change these keys: {listed}")


def _part(config: ml_collections.ConfigDict, prefix: str) -> ml_collections.ConfigDict:
  """Returns the configuration of a run whose keys have this prefix."""
  return config[prefix.removesuffix(".")] if prefix else config


def _expand_paths(config: ml_collections.ConfigDict, prefix: str) -> None:
  known = flat_keys(config)
  for key in configuration.PATHS:
    if known[key]:
      path = paths.local_path(known[key], f"--config.{prefix}{key}")
      config.update_from_flattened_dict({key: path})


def _require_files(config: ml_collections.ConfigDict) -> None:
  if not config.data.files:
    kind = "text" if config.objective.name == "lplm" else "pairs"
    raise UserError(
      f"--config.data.files is missing: the files of your own {kind}, such as "
      "'a.jsonl,b/*.jsonl.zst'"
    )
