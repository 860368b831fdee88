# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The ids of a task on disk: ArrayRecord shards that are read by index.

A cache is a folder for one split of one task:

    manifest.json           what it was made for and what is in it; written last
    00000.arrayrecord …     the examples, in the order of the documents
    unigrams.npy            int64 [V], how often each id is a target token, EOS included

An example of an LPLM task is a window (feature `target`), one of a task of pairs has
the features `source` and `target`; BOS, EOS and the corruption are added on reading.
`cache_writer` makes caches.
"""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Mapping

import numpy as np

from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError
from elmer_jax.data.cache import records
from elmer_jax.tokenizer.bpe import Vocabulary

FORMAT = 1
# Raised when the same documents would give other examples than before.
PREPROCESSING = 1

FEATURES = {"lplm": ("target",), "pairs": ("source", "target")}

MANIFEST = "manifest.json"
UNIGRAMS = "unigrams.npy"


@dataclasses.dataclass(frozen=True)
class Purpose:
  """What a cache is made for: it serves every run that wants the same.

  Attributes:
    task: name of the spec.
    split: its split.
    kind: "lplm" or "pairs".
    vocabulary: digest of the vocabulary.
    vocabulary_size: its number of ids.
    length: the most ids of each feature, without BOS and EOS.
  """

  task: str
  split: str
  kind: str
  vocabulary: str
  vocabulary_size: int
  length: Mapping[str, int]

  @classmethod
  def of(
    cls,
    task: str,
    kind: str,
    split: str,
    vocabulary: Vocabulary,
    source_length: int,
    target_length: int,
  ) -> "Purpose":
    """Returns the purpose for batches of these lengths, BOS and EOS included."""
    length = {"source": source_length - 2, "target": target_length - 1}
    if kind == "lplm":
      length = {"target": min(length.values())}
    return cls(task, split, kind, vocabulary.digest, vocabulary.size, length)

  def manifest(self) -> dict:
    """Returns the part of the manifest that is known before the examples are."""
    versions = {"format": FORMAT, "preprocessing": PREPROCESSING}
    return versions | dataclasses.asdict(self)


class Cache:
  """The examples of a cache by index: `cache[i]` → {feature: int32 [n]}.

  It opens its shards when they are first read, so that it is cheap to make, and it
  pickles for worker processes.

  Attributes:
    directory: its folder.
    manifest: the content of its manifest.
    features: names of the features of an example.
  """

  def __init__(self, directory: pathlib.Path, manifest: dict):
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    self.directory = directory
    self.manifest = manifest
    self.features = FEATURES[manifest["kind"]]
    self._dtype = records.id_dtype(manifest["vocabulary_size"])
    self._records = ArrayRecordDataSource(
      [_Shard(str(directory / s["file"]), s["examples"]) for s in manifest["shards"]]
    )

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    """Returns an example; raises UserError if its bytes aren't those written."""
    try:
      record = self._records[index]
    except RuntimeError as error:
      raise _damage(self.directory, f"example {index}: {error}") from None
    return records.unpack(record, self.features, self._dtype)

  def unigrams(self) -> np.ndarray:
    """Counts of the target tokens, EOS included, int64 [V]."""
    try:
      return np.load(self.directory / UNIGRAMS)
    except (OSError, ValueError) as error:
      raise _damage(self.directory, error) from None


@dataclasses.dataclass(frozen=True)
class _Shard:
  """Tells ArrayRecordDataSource the number of records, so that it opens no file yet."""

  filename: str
  take: int
  skip: int = 0

  @property
  def examples_in_shard(self) -> int:
    return self.take


def open_cache(directory: str | os.PathLike, purpose: Purpose | None = None) -> Cache:
  """Opens a finished cache.

  Shards are checked for their size, which takes no reading of what may be a hundred
  gigabytes. That no byte has changed is checked for each example when it is read.

  Args:
    directory: its folder.
    purpose: what it has to be made for; None takes any.

  Raises:
    UserError: there is no finished cache, a shard is missing or cut short, or the cache
      was made for something else; the message says which part differs.
  """
  directory = pathlib.Path(directory)
  manifest = read_json(directory / MANIFEST)
  if manifest is None:
    raise UserError(f"{directory} holds no finished cache: prepare it first")
  if purpose is not None:
    check_fit(manifest, purpose.manifest(), directory)
  for shard in manifest["shards"]:
    path = directory / shard["file"]
    size = path.stat().st_size if path.exists() else 0
    if size != shard["bytes"]:
      what = f"{path.name} has {size} bytes instead of {shard['bytes']}"
      raise _damage(directory, what)
  return Cache(directory, manifest)


def _damage(directory: pathlib.Path, what: object) -> UserError:
  reason = re.split(r"; | \(computed", str(what))[0]
  return UserError(
    f"the cache {directory} is damaged ({reason}): delete it and prepare again"
  )


def check_fit(found: Mapping, wanted: Mapping, where: str | os.PathLike) -> None:
  """Raises UserError if `found` has another value for a key of `wanted`."""
  for part, value in wanted.items():
    if found.get(part) != value:
      raise UserError(
        f"{where} doesn't fit this configuration, which has another "
        f"{part.replace('_', ' ')}: {_shown(found.get(part))} there, {_shown(value)} "
        "here; choose another --workdir or data.cache, or delete it to prepare anew"
      )


def _shown(value: object) -> str:
  if isinstance(value, Mapping):
    return ", ".join(f"{name} {number}" for name, number in value.items())
  is_digest = isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)
  return value[:12] if is_digest else repr(value)


def read_json(path: pathlib.Path) -> dict | None:
  """Returns the content of a JSON file, None where there is none."""
  try:
    return json.loads(path.read_text("utf-8"))
  except FileNotFoundError:
    return None
  except OSError as error:
    raise UserError(f"{path} can't be read: {error.strerror}") from None
  except ValueError as error:
    raise UserError(f"{path} is damaged ({error}): delete it, prepare anew") from None


def write_json(path: pathlib.Path, content: Mapping) -> None:
  """Writes a JSON file, whole or not at all."""
  write_whole(path, json.dumps(content, indent=1) + "\n")
