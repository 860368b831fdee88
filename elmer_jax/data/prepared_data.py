# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The folders of the prepared data of a run, and the parts of its mixture.

In `data.cache`, or WORKDIR/cache if that is empty:

    TASK.mixture.json    the tasks that `data.task` consists of; written last
    TASK/SPLIT/          a cache for each of them and each split

Training reads these and needs no seqio. The vocabulary is in `data.vocabulary`, or in
WORKDIR/vocabulary if that is empty.
"""

import dataclasses
import math
import os
import pathlib
import shutil
from collections.abc import Sequence

import ml_collections

from elmer_jax import configuration
from elmer_jax.core.errors import UserError
from elmer_jax.core.json_files import check_object, damaged, read_object_if_present
from elmer_jax.core.paths import is_plain_name
from elmer_jax.data.cache.cache import (
  REMEDY,
  Cache,
  CacheKey,
  check_matches,
  open_cache,
  write_json,
)
from elmer_jax.data.mixture_rates import parse_rates
from elmer_jax.tokenizer.bpe import Vocabulary

TEXT = "text.json"  # beside a vocabulary: the text that it was trained on
_FILE_KEYS = (
  *("files", "validation_files", "distilled", "encoding"),
  *("text_field", "source_field", "target_field"),
)


@dataclasses.dataclass(frozen=True)
class MixturePart:
  """A task of a mixture.

  Attributes:
    task: its name.
    kind: "lplm" or "pairs".
    rate: relative frequency of its examples; `data.rates` overrides the stored one.
    splits: names of its splits.
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


def cache_key(
  config: ml_collections.ConfigDict,
  part: MixturePart,
  split: str,
  vocabulary: Vocabulary,
) -> CacheKey:
  """Returns the key that the configuration requires of the cache of a part's split."""
  lengths = config.data.source_length, config.data.target_length
  return CacheKey.create(part.task, part.kind, split, vocabulary, *lengths)


def read_parts(
  config: ml_collections.ConfigDict, workdir: str
) -> list[MixturePart] | None:
  """Returns the parts of the prepared data, None if it isn't finished.

  Raises:
    UserError: other files were prepared than the configuration names, or `data.rates`
      doesn't match the parts.
  """
  path = _mixture_path(config, workdir)
  mixture = read_object_if_present(path, {"parts": list}, REMEDY)
  if mixture is None:
    return None
  # Files of older versions lack the keys that these did not have.
  check_matches(_files(configuration.default()) | mixture, _files(config), path)
  parts = [_mixture_part(part, path) for part in mixture["parts"]]
  if not parts:
    raise damaged(path, "it has no parts", REMEDY)
  rates = parse_rates(config.data.rates, [part.task for part in parts])
  return [
    dataclasses.replace(part, rate=rates.get(part.task, part.rate)) for part in parts
  ]


def _mixture_part(part: object, path: pathlib.Path) -> MixturePart:
  fields = {"task": str, "kind": str, "rate": float, "splits": list}
  part = check_object(part, str(path), fields, REMEDY)
  for name in (part["task"], *part["splits"]):
    if not is_plain_name(name):
      raise damaged(path, f"{name!r} is not the name of a task or split", REMEDY)
  if not 0 <= part["rate"] < math.inf:
    raise damaged(path, f"rate is {part['rate']}", REMEDY)
  return MixturePart(**{name: part[name] for name in fields})


def write_parts(
  config: ml_collections.ConfigDict, workdir: str, parts: Sequence[MixturePart]
) -> None:
  """Records that the caches of these parts are finished."""
  content = {"parts": [dataclasses.asdict(part) for part in parts]}
  write_json(_mixture_path(config, workdir), _files(config) | content)


def is_of_other_text(folder: pathlib.Path, text: dict[str, int | None]) -> bool:
  """Tells whether a vocabulary was trained on a text of another size.

  Args:
    folder: of the vocabulary.
    text: bytes of the training split of each task.
  """
  found = read_object_if_present(folder / TEXT, remedy="delete it")
  return found is not None and found != text


def remove(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Removes a run's own vocabulary and cache."""
  shutil.rmtree(vocabulary_folder(config, workdir), ignore_errors=True)
  if not config.data.cache:
    shutil.rmtree(_root(config, workdir), ignore_errors=True)


def open_caches(
  config: ml_collections.ConfigDict, workdir: str, vocabulary: Vocabulary, split: str
) -> list[tuple[Cache, float]]:
  """Opens the caches of a split, each with its rate.

  Raises:
    UserError: the data isn't prepared, has no such split, is damaged, or doesn't match
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
      splits = ", ".join(part.splits)
      raise UserError(f"task {part.task} has no split {split!r}; it has {splits}")
    caches.append((open_part(config, workdir, vocabulary, part, split), part.rate))
  return caches


def open_part(
  config: ml_collections.ConfigDict,
  workdir: str,
  vocabulary: Vocabulary,
  part: MixturePart,
  split: str,
) -> Cache:
  """Opens the cache of a part's split; raises `UserError` as `open_cache` does."""
  folder = cache_folder(config, workdir, part.task, split)
  return open_cache(folder, cache_key(config, part, split, vocabulary))


def _files(config: ml_collections.ConfigDict) -> dict[str, str]:
  """Returns the keys that decide which texts were prepared."""
  return {key: config.data[key] for key in _FILE_KEYS}


def _root(config: ml_collections.ConfigDict, workdir: str) -> pathlib.Path:
  return pathlib.Path(config.data.cache or os.path.join(workdir, "cache"))


def _mixture_path(config: ml_collections.ConfigDict, workdir: str) -> pathlib.Path:
  return _root(config, workdir) / f"{config.data.task}.mixture.json"
