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

from elmer_jax import configuration, huge_pages
from elmer_jax.core.errors import UserError

Main = Callable[[ml_collections.ConfigDict, str], None]
Default = Callable[[], ml_collections.ConfigDict]


def define_run_flags() -> None:
  """Defines `--config` and `--workdir`, the flags of everything that is a run."""
  define_config_flag()
  flags.DEFINE_string("workdir", None, "Folder of the run; made if it is missing.")


def define_config_flag() -> None:
  """Defines `--config`, and with it `--config.KEY` for every key."""
  config_flags.DEFINE_config_file(
    "config", None, "Path of a configuration file, such as configs/quickstart.py."
  )


def run(main: Main, default: Default | None = None) -> None:
  """Parses `--config` and `--workdir`, calls `main` and ends the process.

  Args:
    main: the command.
    default: gives the keys of its configurations, by default those of a run.
  """
  default = default or _default_of_runs

  def with_flags() -> None:
    _require("config", "workdir")
    main(_configuration(default), flags.FLAGS.workdir)

  define_run_flags()
  run_flags(with_flags, default)


def run_without_folder(main: Callable[[ml_collections.ConfigDict], None]) -> None:
  """Does the same for a command that needs `--config` alone."""

  def with_flag() -> None:
    _require("config")
    main(_configuration(_default_of_runs))

  define_config_flag()
  run_flags(with_flag, _default_of_runs)


def _default_of_runs() -> ml_collections.ConfigDict:
  return configuration.default()


def _require(*names: str) -> None:
  for name in names:
    if flags.FLAGS[name].value is None:
      raise UserError(f"--{name} is missing: see README.md for the commands")


def _configuration(default: Default) -> ml_collections.ConfigDict:
  config = flags.FLAGS.config
  path = config_flags.get_config_filename(flags.FLAGS["config"])
  if isinstance(config, ml_collections.ConfigDict):
    if config.keys() != default().keys():
      raise UserError(
        f"--config={path} is for another command: its docstring says for which"
      )
    return config
  raise UserError(f"--config={path} is no configuration file: does the path exist?")


def run_flags(main: Callable[[], None], default: Default | None = None) -> None:
  """Runs a command whose flags are already defined; a `UserError` is one line.

  Args:
    main: the command.
    default: gives the keys of its configuration, if it has one.
  """

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

  huge_pages.ask()
  app.run(guarded, flags_parser=lambda argv: _parse(argv, default))


def _parse(argv: list[str], default: Default | None) -> list[str]:
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    _fail(_unknown_key(argv, default) or str(error))
  except Exception as error:  # whatever a configuration file does
    _fail(_unknown_key(argv, default) or f"--config: {_first_line(error)}")


def _unknown_key(argv: list[str], default: Default | None) -> str | None:
  """Returns a line about the first --config.KEY that no configuration has."""
  if default is None:
    return None
  known = [f"--config.{key}" for key in configuration.flat_keys(default())]
  for argument in argv[1:]:
    key = argument.partition("=")[0]
    if key.startswith("--config.") and key not in known:
      [near] = difflib.get_close_matches(key, known, n=1, cutoff=0)
      return f"{key} is no key of the configuration. Did you mean {near}?"
  return None


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
  home = str(Path(__file__).parents[1])
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
