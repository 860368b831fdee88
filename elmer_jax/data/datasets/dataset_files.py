# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Maps files to the public data sets that are read from them.

Files are named by `data.files`, by `use_files` or by the environment variable
ELMER_JAX_FILES: a comma-separated list of names and patterns, each optionally preceded
by its task:

    wikipedia_lplm=w/*.zst,books_lplm=b/*.zst

Entries without a task belong to `data.task` if that is a public data set that can be
read from files. Otherwise they are the user's own text or pairs.
"""

import contextlib
import difflib
import os
import re
from collections.abc import Iterator

import ml_collections

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.data.datasets.registry import DATASETS, FILE_DATASETS, MIXTURES
from elmer_jax.data.readers.text_files import expand_files

FILES_VARIABLE = "ELMER_JAX_FILES"

_files_by_task: dict[str, str] = {}


def use_files(name: str, patterns: str) -> None:
  """Sets the files of a public data set for this process: 'a.txt,b/*.jsonl.zst'.

  Raises:
    UserError: there is no such data set that can be read from files, or a file is
      missing, empty or not text.
  """
  _check_name(name)
  expand_files(patterns)
  _files_by_task[name] = patterns


@contextlib.contextmanager
def use_configured_files(config: ml_collections.ConfigDict) -> Iterator[None]:
  """Uses the files that `data.files` names for public data sets, within a context."""
  before = dict(_files_by_task)
  if not has_own_files(config):
    _files_by_task.update(configured_files(config))
  try:
    yield
  finally:
    _files_by_task.clear()
    _files_by_task.update(before)


def has_own_files(config: ml_collections.ConfigDict) -> bool:
  """Returns whether `data.files` names the user's own text or pairs."""
  return bool(config.data.files) and not configured_files(config)


def configured_files(config: ml_collections.ConfigDict) -> dict[str, str]:
  """Returns the files that `data.files` names for public data sets, by task.

  Raises:
    UserError: a named task can't be read from files or is not part of `data.task`, or
      files without a task could belong to several parts of a mixture.
  """
  task = config.data.task
  by_task = split_by_task(config.data.files)
  unnamed = by_task.pop("", "")
  parts = MIXTURES.get(task, (task,) if task in DATASETS else ())
  if unnamed and task in MIXTURES:
    raise UserError(
      f"data.files: name the part of {task} that {unnamed!r} belongs to: "
      f"'{parts[0]}={unnamed}' or '{parts[1]}={unnamed}'"
    )
  if unnamed and parts and task not in FILE_DATASETS:
    raise UserError(f"data.files: {task} can only be read from TFDS, not from files")
  if unnamed and parts:
    by_task[task] = ",".join(filter(None, (by_task.get(task), unnamed)))
  for name in by_task:
    if name not in parts:
      raise UserError(f"data.files names files of {name}, which is not part of {task}")
  return by_task


def split_by_task(files: str) -> dict[str, str]:
  """Returns the entries of a list of files by task; "" for entries without a task.

  Raises:
    UserError: an entry names a task that can't be read from files.
  """
  found: dict[str, list[str]] = {}
  for entry in filter(None, map(str.strip, files.split(","))):
    prefixed = re.fullmatch(r"(\w+)=(.+)", entry)
    # The name of a file may itself contain "=".
    if prefixed and (prefixed[1] in FILE_DATASETS or not _exists(entry)):
      _check_name(prefixed[1])
      found.setdefault(prefixed[1], []).append(prefixed[2])
    else:
      found.setdefault("", []).append(entry)
  return {name: ",".join(entries) for name, entries in found.items()}


def with_chosen_files(spec: DatasetSpec) -> DatasetSpec:
  """Returns the data set read from the files set for it, if there are any."""
  if spec.from_files is None:
    return spec
  files = _files_by_task.get(spec.name)
  if files is None:
    files = split_by_task(os.environ.get(FILES_VARIABLE, "")).get(spec.name)
  return spec.from_files(files) if files else spec


def _check_name(name: str) -> None:
  if name not in FILE_DATASETS:
    [near] = difflib.get_close_matches(name, FILE_DATASETS, n=1, cutoff=0)
    raise UserError(
      f"files of {name!r}: there is no public data set of this name that can be read "
      f"from files. Did you mean {near!r}?"
    )


def _exists(pattern: str) -> bool:
  try:
    return bool(expand_files(pattern))
  except UserError:
    return False
