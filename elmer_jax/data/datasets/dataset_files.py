# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Which files belong to which public set.

They are named by `data.files`, by `use_files` or by the environment variable
ELMER_JAX_FILES: a comma-separated list whose entries may begin with the task that they
belong to,

    wikipedia_lplm=w/*.zst,books_lplm=b/*.zst

Entries without a task belong to `data.task` if that is a public set that files may
hold; else they are the user's own text or pairs.
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
from elmer_jax.data.readers.documents_and_pairs import expand_files

FILES_VARIABLE = "ELMER_JAX_FILES"

_files: dict[str, str] = {}


def use_files(name: str, patterns: str) -> None:
  """Says in which files a public set lies, for this process: 'a.txt,b/*.jsonl.zst'.

  Raises:
    UserError: there is no such set in files, or a file is missing, empty or not text.
  """
  _check_name(name)
  expand_files(patterns)
  _files[name] = patterns


@contextlib.contextmanager
def use_configured_files(config: ml_collections.ConfigDict) -> Iterator[None]:
  """Lets the public sets lie where `data.files` says, for as long as this lasts."""
  before = dict(_files)
  _files.update({} if has_own_files(config) else files_of(config))
  try:
    yield
  finally:
    _files.clear()
    _files.update(before)


def has_own_files(config: ml_collections.ConfigDict) -> bool:
  """Tells whether `data.files` names the user's own texts or pairs, not public sets."""
  return bool(config.data.files) and not files_of(config)


def files_of(config: ml_collections.ConfigDict) -> dict[str, str]:
  """Returns the files that `data.files` names for public sets, by task.

  Raises:
    UserError: it names a task that is no public set in files or no part of `data.task`,
      or leaves open to which part of a mixture its files belong.
  """
  task = config.data.task
  by_task = split_files(config.data.files)
  rest = by_task.pop("", "")
  parts = MIXTURES.get(task, (task,) if task in DATASETS else ())
  if rest and task in MIXTURES:
    raise UserError(
      f"data.files: say to which part of {task} {rest!r} belongs: "
      f"'{parts[0]}={rest}' or '{parts[1]}={rest}'"
    )
  if rest and parts and task not in FILE_DATASETS:
    raise UserError(f"data.files: {task} is read from TFDS alone, not from files")
  if rest and parts:
    by_task[task] = ",".join(filter(None, (by_task.get(task), rest)))
  for name in by_task:
    if name not in parts:
      raise UserError(f"data.files names files of {name}, which is no part of {task}")
  return by_task


def split_files(files: str) -> dict[str, str]:
  """Returns the entries of a list of files by task; "" stands for no task.

  Raises:
    UserError: an entry names a task that is no public set in files.
  """
  found: dict[str, list[str]] = {}
  for entry in filter(None, map(str.strip, files.split(","))):
    prefixed = re.fullmatch(r"(\w+)=(.+)", entry)
    # A file's own name may have such a beginning.
    if prefixed and (prefixed[1] in FILE_DATASETS or not _exists(entry)):
      _check_name(prefixed[1])
      found.setdefault(prefixed[1], []).append(prefixed[2])
    else:
      found.setdefault("", []).append(entry)
  return {name: ",".join(entries) for name, entries in found.items()}


def with_chosen_files(spec: DatasetSpec) -> DatasetSpec:
  """Returns the spec that reads the files chosen for a set, if there are any."""
  if spec.from_files is None:
    return spec
  files = _files.get(spec.name)
  if files is None:
    files = split_files(os.environ.get(FILES_VARIABLE, "")).get(spec.name)
  return spec.from_files(files) if files else spec


def _check_name(name: str) -> None:
  if name not in FILE_DATASETS:
    [near] = difflib.get_close_matches(name, FILE_DATASETS, n=1, cutoff=0)
    raise UserError(
      f"files of {name!r}: there is no such public set in files. Did you mean {near!r}?"
    )


def _exists(pattern: str) -> bool:
  try:
    return bool(expand_files(pattern))
  except UserError:
    return False
