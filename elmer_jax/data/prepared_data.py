# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Where the prepared data of a run lies, and what it consists of.

Under `data.cache`, or WORKDIR/cache where that is empty:

    TASK.mixture.json    of which tasks `data.task` consists; written last
    TASK/SPLIT/          a cache for each of them and each split

It tells training what to read, so that a machine without seqio can train. The
vocabulary lies in `data.vocabulary`, or in WORKDIR/vocabulary where that is empty.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import ml_collections

from elmer_jax.core.errors import UserError
from elmer_jax.data.cache.cache import (
  Cache,
  Purpose,
  check_fit,
  open_cache,
  read_json,
  write_json,
)
from elmer_jax.data.mixture_rates import parse_rates
from elmer_jax.tokenizer.bpe import Vocabulary


@dataclasses.dataclass(frozen=True)
class Part:
  """A task of a mixture.

  Attributes:
    task: its name.
    kind: "lplm" or "pairs".
    rate: how often its examples come, relative to the other parts; what `data.rates`
      says goes before what was written.
    splits: what it has.
  """

  task: str
  kind: str
  rate: float
  splits: Sequence[str]


def vocabulary_folder(config: ml_collections.ConfigDict, workdir: str) -> pathlib.Path:
  return pathlib.Path(config.data.vocabulary or os.path.join(workdir, "vocabulary"))


def cache_folder(
  config: ml_collections.ConfigDict, workdir: str, task: str, split: str
) -> pathlib.Path:
  return _root(config, workdir) / task / split


def purpose(
  config: ml_collections.ConfigDict, part: Part, split: str, vocabulary: Vocabulary
) -> Purpose:
  """Returns what the configuration wants of the cache of a part's split."""
  lengths = config.data.source_length, config.data.target_length
  return Purpose.of(part.task, part.kind, split, vocabulary, *lengths)


def read_parts(config: ml_collections.ConfigDict, workdir: str) -> list[Part] | None:
  """Returns the parts of the prepared data, None where it isn't finished.

  Raises:
    UserError: other files were prepared than the configuration names, or `data.rates`
      doesn't fit the parts.
  """
  path = _mixture_path(config, workdir)
  mixture = read_json(path)
  if mixture is None:
    return None
  # Older ones don't say that nothing was distilled.
  check_fit({"distilled": "", **mixture}, _files(config), path)
  parts = [Part(**part) for part in mixture["parts"]]
  rates = parse_rates(config.data.rates, [part.task for part in parts])
  return [
    dataclasses.replace(part, rate=rates.get(part.task, part.rate)) for part in parts
  ]


def write_parts(
  config: ml_collections.ConfigDict, workdir: str, parts: Sequence[Part]
) -> None:
  """Says that the caches of these parts are all there."""
  content = {
    **_files(config),
    "parts": [dataclasses.asdict(part) for part in parts],
  }
  write_json(_mixture_path(config, workdir), content)


def open_caches(
  config: ml_collections.ConfigDict, workdir: str, vocabulary: Vocabulary, split: str
) -> list[tuple[Cache, float]]:
  """Opens the caches of a split, each with its rate.

  Raises:
    UserError: the data isn't prepared, has no such split, is damaged, or doesn't fit
      the configuration.
  """
  parts = read_parts(config, workdir)
  if parts is None:
    raise UserError(
      f"{_root(config, workdir)} holds no prepared data for {config.data.task}: run "
      "python -m elmer_jax.prepare with this configuration and workdir first"
    )
  caches = []
  for part in parts:
    if split not in part.splits:
      has = ", ".join(part.splits)
      raise UserError(f"task {part.task} has no split {split!r}; it has {has}")
    caches.append((open_part(config, workdir, vocabulary, part, split), part.rate))
  return caches


def open_part(
  config: ml_collections.ConfigDict,
  workdir: str,
  vocabulary: Vocabulary,
  part: Part,
  split: str,
) -> Cache:
  """Opens the cache of a part's split, if it is what the configuration wants."""
  folder = cache_folder(config, workdir, part.task, split)
  return open_cache(folder, purpose(config, part, split, vocabulary))


def _files(config: ml_collections.ConfigDict) -> dict[str, str]:
  return {"files": config.data.files, "distilled": config.data.distilled}


def _root(config: ml_collections.ConfigDict, workdir: str) -> pathlib.Path:
  return pathlib.Path(config.data.cache or os.path.join(workdir, "cache"))


def _mixture_path(config: ml_collections.ConfigDict, workdir: str) -> pathlib.Path:
  return _root(config, workdir) / f"{config.data.task}.mixture.json"
