# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The token ids of a task on disk, with random access by index.

A cache is a folder for one split of one task:

    manifest.json           its `CacheKey`, counts and shards; written last
    00000.arrayrecord …     the examples, in the order of the documents
    unigrams.npy            int64 [V], the count of each id in the targets, with EOS

An example of an LPLM task is a window (feature `target`), one of a task of pairs has
the features `source` and `target`. `loader` adds BOS, EOS and the corruption. `writer`
makes caches.
"""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Mapping

import numpy as np

from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError
from elmer_jax.core.json_files import check_object, damaged, read_object_if_present
from elmer_jax.core.paths import is_plain_name
from elmer_jax.data.cache import records
from elmer_jax.tokenizer.bpe import Vocabulary

FORMAT = 1
# Incremented when the same documents give other examples than before.
PREPROCESSING = 1

FEATURES = {"lplm": ("target",), "pairs": ("source", "target")}

MANIFEST = "manifest.json"
UNIGRAMS = "unigrams.npy"

REMEDY = "delete it and prepare again"  # for files that are damaged


@dataclasses.dataclass(frozen=True)
class CacheKey:
  """What decides the content of a cache; runs with the same key can share it.

  Attributes:
    task: name of the dataset.
    split: its split.
    kind: "lplm" or "pairs".
    vocabulary: digest of the vocabulary.
    vocabulary_size: number of ids.
    length: maximum number of ids of each feature, without BOS and EOS.
  """

  task: str
  split: str
  kind: str
  vocabulary: str
  vocabulary_size: int
  length: Mapping[str, int]

  @classmethod
  def create(
    cls,
    task: str,
    kind: str,
    split: str,
    vocabulary: Vocabulary,
    source_length: int,
    target_length: int,
  ) -> "CacheKey":
    """Returns the key for batches of these lengths, BOS and EOS included."""
    length = {"source": source_length - 2, "target": target_length - 1}
    if kind == "lplm":
      length = {"target": min(length.values())}
    return cls(task, split, kind, vocabulary.digest, vocabulary.size, length)

  def manifest(self) -> dict:
    """Returns the entries of the manifest that are known before the examples are."""
    versions = {"format": FORMAT, "preprocessing": PREPROCESSING}
    return versions | dataclasses.asdict(self)


class Cache:
  """The examples of a cache by index: `cache[i]` → {feature: int32 [n]}.

  Shards are opened when they are first read, and a cache can be pickled for worker
  processes.

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
      [
        _ShardFile(str(directory / s["file"]), s["examples"])
        for s in manifest["shards"]
      ]
    )

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    """Returns an example.

    Raises:
      UserError: its shard can't be read, or its checksum doesn't match.
    """
    try:
      record = self._records[index]
    except RuntimeError as error:
      # "open() failed: Too many open files; …" comes from the system, not the content.
      if match := re.match(r"\w+\(\) failed: ([^;]*)", str(error)):
        raise _unreadable(self.directory, f"example {index}: {match[1]}") from None
      raise _damaged(self.directory, f"example {index}: {error}") from None
    return records.unpack(record, self.features, self._dtype)

  def unigrams(self) -> np.ndarray:
    """Returns the counts of the target tokens, EOS included, int64 [V]."""
    try:
      counts_V = np.load(self.directory / UNIGRAMS, allow_pickle=False)
    except FileNotFoundError as error:
      raise _damaged(self.directory, error) from None
    except OSError as error:
      raise _unreadable(self.directory, f"{UNIGRAMS}: {error.strerror}") from None
    except Exception as error:  # NumPy reads the header as Python
      raise _damaged(self.directory, f"{UNIGRAMS}: {error}") from None
    size = self.manifest["vocabulary_size"]
    is_counts = isinstance(counts_V, np.ndarray) and counts_V.dtype.kind in "iu"
    if not is_counts or counts_V.shape != (size,) or counts_V.min() < 0:
      raise _damaged(self.directory, f"{UNIGRAMS} does not hold {size} counts")
    return counts_V


@dataclasses.dataclass(frozen=True)
class _ShardFile:
  """A shard and its size, so that ArrayRecordDataSource opens no file to count it."""

  filename: str
  take: int
  skip: int = 0

  @property
  def examples_in_shard(self) -> int:
    return self.take


def open_cache(directory: str | os.PathLike, key: CacheKey | None = None) -> Cache:
  """Opens a finished cache.

  Only the sizes of the shards are checked here, since they may hold a hundred
  gigabytes. The checksum of each example is checked when it is read.

  Args:
    directory: its folder.
    key: the key that the cache must have; None accepts any.

  Raises:
    UserError: there is no finished cache, a shard is missing or truncated, or the cache
      has another key.
  """
  directory = pathlib.Path(directory)
  manifest = read_manifest(directory)
  if manifest is None:
    raise UserError(f"{directory} holds no finished cache: prepare it first")
  if key is not None:
    check_matches(manifest, key.manifest(), directory)
  shards = manifest["shards"]
  # On a network file system a size takes as long as a read.
  with concurrent.futures.ThreadPoolExecutor(32) as threads:
    sizes = threads.map(_size, [directory / shard["file"] for shard in shards])
    for shard, size in zip(shards, sizes, strict=True):
      if size != shard["bytes"]:
        reason = f"{shard['file']} has {size} bytes instead of {shard['bytes']}"
        raise _damaged(directory, reason)
  return Cache(directory, manifest)


def read_manifest(directory: pathlib.Path) -> dict | None:
  """Returns the manifest of a cache, None if it is unfinished.

  Raises:
    UserError: the manifest is damaged.
  """
  path = directory / MANIFEST
  fields = {"kind": str, "vocabulary_size": int, "examples": int, "shards": list}
  manifest = read_object_if_present(path, fields, REMEDY)
  if manifest is None:
    return None
  total = 0
  for shard in manifest["shards"]:
    entry = check_object(shard, str(path), {"bytes": int, "examples": int}, REMEDY)
    if not is_plain_name(entry.get("file")):
      raise damaged(path, f"{entry.get('file')!r} is not the name of a shard", REMEDY)
    total += entry["examples"]
  if total != manifest["examples"]:
    counts = f"{manifest['examples']} examples, but its shards have {total}"
    raise damaged(path, counts, REMEDY)
  if manifest["kind"] not in FEATURES:
    raise damaged(path, f"kind is {manifest['kind']!r}", REMEDY)
  return manifest


def _size(path: pathlib.Path) -> int:
  """Returns the bytes of a file, 0 if it is missing."""
  return path.stat().st_size if path.exists() else 0


def _unreadable(directory: pathlib.Path, reason: str) -> UserError:
  return UserError(f"the cache {directory} can't be read ({reason})")


def _damaged(directory: pathlib.Path, reason: object) -> UserError:
  reason = re.split(r"; | \(computed", str(reason))[0]
  return damaged(f"the cache {directory}", reason, REMEDY)


def check_matches(found: Mapping, expected: Mapping, where: str | os.PathLike) -> None:
  """Raises `UserError` if `found` has another value for a key of `expected`."""
  for name, value in expected.items():
    if found.get(name) != value:
      raise UserError(
        f"{where} was prepared with another {name.replace('_', ' ')}: "
        f"{_format(found.get(name))} there, {_format(value)} here; choose another "
        "--workdir or data.cache, or delete it and prepare again"
      )


def _format(value: object) -> str:
  if isinstance(value, Mapping):
    return ", ".join(f"{name} {number}" for name, number in value.items())
  is_digest = isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)
  return value[:12] if is_digest else repr(value)


def write_json(path: pathlib.Path, content: Mapping) -> None:
  """Writes a JSON file atomically."""
  write_whole(path, json.dumps(content, indent=1) + "\n")
