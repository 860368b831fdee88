# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common: flags, help, one-line errors, exit status.

A command is a module of this package with a function `main`, which it hands to `run`,
`run_without_folder` or `run_flags`.
"""

import logging as python_logging
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import ml_collections
from absl import flags, logging

import elmer_jax
from elmer_jax import configuration
from elmer_jax.commands import config_files, resolution
from elmer_jax.configuration import RUN, Schema
from elmer_jax.core import open_files, quiet, signals
from elmer_jax.core.errors import UserError, printable

Value = TypeVar("Value")

_LINE_CHARACTERS = 2000  # of an error: more is a value that someone put in


def run(
  main: Callable[[ml_collections.ConfigDict, str], None], schema: Schema = RUN
) -> None:
  """Runs a command on the run that `--config` and `--workdir` name.

  Args:
    main: the command; it takes the resolved configuration and the run's folder.
    schema: the kind of its configuration.
  """

  def start(argv: list[str]) -> None:
    resolved = resolution.resolve(argv, schema)
    _parse_flags(resolved.arguments)
    main(resolved.config, resolved.workdir)

  _run(main, start, _config_help(schema) + [_WORKDIR_HELP])


def run_without_folder(main: Callable[[ml_collections.ConfigDict], None]) -> None:
  """Runs a command that needs `--config` alone."""

  def start(argv: list[str]) -> None:
    resolved = resolution.resolve(argv, has_workdir=False)
    _parse_flags(resolved.arguments)
    main(resolved.config)

  _run(main, start, _config_help(RUN))


def run_flags(main: Callable[[], None]) -> None:
  """Runs a command that has its own flags alone."""

  def start(argv: list[str]) -> None:
    _parse_flags(argv)
    main()

  _run(main, start, [])


def required(flag: flags.FlagHolder[Value]) -> Value:
  """Returns the value of a flag; raises `UserError` if it was not given."""
  if flag.value is None:
    text = flags.FLAGS[flag.name].help
    raise UserError(
      f"--{flag.name} is missing: {text[0].lower()}{text[1:].rstrip('.')}"
    )
  return flag.value


def fail(line: str) -> NoReturn:
  """Prints an error in one line that a person can read, and exits with 2.

  Control characters are escaped, and the middle of a very long line is left out.
  """
  shown = printable(line)
  if len(shown) > _LINE_CHARACTERS:
    shown = f"{shown[: _LINE_CHARACTERS // 2]} … {shown[-_LINE_CHARACTERS // 2 :]}"
  print(f"error: {shown}", file=sys.stderr)
  sys.exit(2)


def _run(
  main: Callable[..., None],
  start: Callable[[list[str]], None],
  shared_help: Sequence[str],
) -> None:
  argv = list(sys.argv)
  try:
    if {"-h", "--help", "--helpfull", "--helpshort"} & set(argv[1:]):
      print(_help(main.__module__, shared_help), flush=True)
    elif "--version" in argv[1:]:
      print(f"elmer_jax {elmer_jax.__version__}")
    else:
      _set_up_log()
      signals.install()
      open_files.raise_limit()
      start(argv)
  except signals.Stopped as stopped:
    signals.end(stopped)
  except (UserError, flags.Error) as error:
    fail(str(error))
  except BrokenPipeError:
    # The reader of the output is gone (`| head`).
    sys.stderr.close()
    sys.exit(0)


def _parse_flags(argv: list[str]) -> None:
  rest = flags.FLAGS(argv)
  if len(rest) > 1:
    raise UserError(f"unexpected argument {rest[1]!r}; use --name=value")


_WORKDIR_HELP = (
  "--workdir=DIR: folder of the run, made if it is missing. If it is one of a run "
  "already, --config is not needed."
)


def _config_help(schema: Schema) -> list[str]:
  keys = configuration.flat_keys(schema.default())
  names = [
    name
    for name in config_files.names()
    if name.startswith("compare_") == (schema is configuration.COMPARISON)
  ]
  return [
    f"--config=NAME: {', '.join(names)}; or the path of such a file.",
    "--config.KEY=VALUE: changes one key of the configuration. What they mean is in "
    f"{configuration.__file__}. Keys: {', '.join(keys)}.",
  ]


def _help(module: str, shared: Sequence[str]) -> str:
  """Returns the docstring of a command's module and its flags."""
  lines = list(shared)
  definer = sys.argv[0] if module == "__main__" else module
  for flag in flags.FLAGS.get_key_flags_for_module(definer):
    default = "" if flag.value in (None, "", []) else f" Default: {flag.value}."
    lines.append(f"--{flag.name}: {flag.help}{default}")
  wrapped = [
    textwrap.fill(line, 88, initial_indent="  ", subsequent_indent="      ")
    for line in lines
  ]
  doc = sys.modules[module].__doc__ or ""
  return "\n".join([doc.strip(), "", "Flags:", *wrapped])


class _LineFormatter(python_logging.Formatter):
  """Messages on one line each, control characters of file names and texts escaped."""

  def formatMessage(self, record: python_logging.LogRecord) -> str:
    return printable(super().formatMessage(record))


def _set_up_log() -> None:
  """Sends this package's log lines, and the errors of others, to standard error."""
  quiet.quiet_native_libraries()
  # Otherwise absl warns of every line that is logged before flags are parsed.
  flags.FLAGS.mark_as_parsed()
  logging.use_absl_handler()
  logging.set_verbosity(logging.INFO)
  handler = logging.get_absl_handler()
  handler.setFormatter(_LineFormatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
  home = str(Path(__file__).parents[1])
  # Orbax alone writes a dozen lines for each checkpoint, and a traceback for each error
  # that it also raises.
  handler.addFilter(
    lambda record: (
      record.pathname.startswith(home)
      or (record.levelno >= python_logging.ERROR and "/orbax/" not in record.pathname)
    )
  )
