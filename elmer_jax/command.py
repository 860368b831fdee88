# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common: flags, one-line errors, exit status.

Every command is a function `main(config, workdir)` handed to `run`.
"""

import difflib
import logging as python_logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from elmer_jax.errors import UserError

Main = Callable[[ml_collections.ConfigDict, str], None]


def define_run_flags() -> None:
  """Defines `--config` and `--workdir`, the flags of everything that is a run."""
  define_config_flag()
  flags.DEFINE_string("workdir", None, "Folder of the run; made if it is missing.")


def define_config_flag() -> None:
  """Defines `--config`, and with it `--config.KEY` for every key."""
  config_flags.DEFINE_config_file(
    "config", None, "Path of a configuration file, such as configs/quickstart.py."
  )


def run(main: Main) -> None:
  """Parses `--config` and `--workdir`, calls `main` and ends the process."""

  def with_flags() -> None:
    _require("config", "workdir")
    main(_configuration(), flags.FLAGS.workdir)

  define_run_flags()
  run_flags(with_flags)


def run_without_folder(main: Callable[[ml_collections.ConfigDict], None]) -> None:
  """Does the same for a command that needs `--config` alone."""

  def with_flag() -> None:
    _require("config")
    main(_configuration())

  define_config_flag()
  run_flags(with_flag)


def _require(*names: str) -> None:
  for name in names:
    if flags.FLAGS[name].value is None:
      raise UserError(f"--{name} is missing: see README.md for the commands")


def _configuration() -> ml_collections.ConfigDict:
  config = flags.FLAGS.config
  if isinstance(config, ml_collections.ConfigDict):
    return config
  path = config_flags.get_config_filename(flags.FLAGS["config"])
  raise UserError(f"--config={path} is no configuration file: does the path exist?")


def run_flags(main: Callable[[], None]) -> None:
  """Runs a command whose flags are already defined; a `UserError` is one line."""

  def guarded(argv: list[str]) -> None:
    if len(argv) > 1:
      _fail(f"what is {argv[1]!r}? Every argument is a flag: --name=value")
    _set_up_log()
    try:
      main()
    except UserError as error:
      _fail(str(error))
    except BrokenPipeError:
      # The reader of our output has gone (`| head`): nothing is left to say.
      sys.stderr.close()
      sys.exit(0)

  app.run(guarded, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    _fail(_unknown_key(argv) or str(error))
  except Exception as error:  # whatever a configuration file does
    _fail(_unknown_key(argv) or f"--config: {_first_line(error)}")


def _unknown_key(argv: list[str]) -> str | None:
  """Returns a line about the first --config.KEY that no configuration has."""
  from elmer_jax import configuration

  known = [f"--config.{key}" for key in flat_keys(configuration.default())]
  for argument in argv[1:]:
    key = argument.partition("=")[0]
    if key.startswith("--config.") and key not in known:
      [near] = difflib.get_close_matches(key, known, n=1, cutoff=0)
      return f"{key} is no key of the configuration. Did you mean {near}?"
  return None


def flat_keys(config: ml_collections.ConfigDict | None) -> dict[str, object]:
  """Returns {"data.batch_size": 16, ...}, the leaves of a configuration."""
  flat = {}
  for key, value in (config or {}).items():
    if isinstance(value, ml_collections.ConfigDict):
      flat |= {f"{key}.{inner}": leaf for inner, leaf in flat_keys(value).items()}
    else:
      flat[key] = value
  return flat


def _set_up_log() -> None:
  """Sends this package's own notes, and the errors of others, to standard error."""
  # TensorFlow, where it is loaded at all, tells at length that it found no GPU.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
  logging.use_absl_handler()
  logging.set_verbosity(logging.INFO)
  handler = logging.get_absl_handler()
  handler.setFormatter(
    python_logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")
  )
  home = str(Path(__file__).parent)
  # Orbax alone writes a dozen lines for each checkpoint.
  handler.addFilter(
    lambda record: (
      record.pathname.startswith(home) or record.levelno >= python_logging.ERROR
    )
  )


def _first_line(error: BaseException) -> str:
  text = re.sub(r"\s+", " ", str(error)).strip()
  return text or type(error).__name__


def _fail(line: str) -> None:
  print(f"error: {line}", file=sys.stderr)
  sys.exit(2)
