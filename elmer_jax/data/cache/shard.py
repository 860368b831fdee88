# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""One shard of a cache: its items encoded to examples, and its metadata.

While a cache is unfinished, NNNNN.json next to NNNNN.arrayrecord holds the metadata. It
lets an interrupted preparation continue with the shards that are complete.
"""

import dataclasses
import hashlib
import pathlib
from typing import NamedTuple, get_origin

import numpy as np

from elmer_jax.core import json_files
from elmer_jax.core.atomic_files import replacing
from elmer_jax.core.errors import UserError
from elmer_jax.data.cache import cache, records
from elmer_jax.data.cache.cache import CacheKey
from elmer_jax.data.cache.windows import Boundaries, split_into_windows
from elmer_jax.data.datasets.dataset import Item, num_characters
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.tokenizer.special_ids import EOS_ID

# One record per group, so that each is read alone, and uncompressed: ids hardly
# compress, and trying to takes seven times as long as the rest of the writing.
_WRITER_OPTIONS = "group_size:1,uncompressed"


class ShardJob(NamedTuple):
  """A shard to write."""

  path: pathlib.Path  # of the ArrayRecord file
  digest: str  # of the cache key and the items
  items: list[Item]


@dataclasses.dataclass(frozen=True)
class ShardMetadata:
  """Checksum and counts of a finished shard."""

  file: str  # name of the ArrayRecord file
  bytes: int
  sha256: str
  documents: int  # or pairs
  characters: int
  examples: int
  tokens: dict[str, int]  # ids of each feature
  cut: dict[str, int]  # truncated texts of each feature
  digest: str  # of the cache key and the items
  unigrams: list[int]  # count of each id in the targets, EOS included

  def manifest(self) -> dict:
    """Returns the entry of the shard in the manifest of the cache."""
    entry = dataclasses.asdict(self)
    del entry["digest"], entry["unigrams"]
    return entry


def read_finished(job: ShardJob) -> ShardMetadata | None:
  """Returns the metadata of a shard, None unless it is complete and has these items."""
  fields = ShardMetadata.__annotations__
  fields = {name: get_origin(kind) or kind for name, kind in fields.items()}
  try:
    content = json_files.read_object(_metadata_path(job.path), fields)
    metadata = ShardMetadata(**{name: content[name] for name in fields})
  except UserError:
    return None  # missing or damaged: the shard is written again
  if (metadata.digest, metadata.file) != (job.digest, job.path.name):
    return None
  is_whole = job.path.is_file() and _sha256(job.path) == metadata.sha256
  return metadata if is_whole else None


def _metadata_path(path: pathlib.Path) -> pathlib.Path:
  return path.with_suffix(".json")


def _sha256(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


class ShardWriter:
  """Encodes items and writes them to shards."""

  def __init__(self, vocabulary: Vocabulary, key: CacheKey):
    self._vocabulary = vocabulary
    self._key = key
    self._boundaries = Boundaries.from_vocabulary(vocabulary)
    self._features = cache.FEATURES[key.kind]

  def write(self, job: ShardJob) -> ShardMetadata:
    """Writes a shard and then its metadata, and returns the metadata."""
    from array_record.python import array_record_module

    path, digest, items = job
    cut = dict.fromkeys(self._features, 0)
    examples = [example for item in items for example in self._examples(item, cut)]
    dtype = records.id_dtype(self._key.vocabulary_size)
    with replacing(path) as temporary:
      try:
        writer = array_record_module.ArrayRecordWriter(str(temporary), _WRITER_OPTIONS)
        for example in examples:
          writer.write(records.pack(example, dtype))
        writer.close()
      except RuntimeError as error:  # raised for a full disk, among other things
        raise OSError(str(error)) from None
    targets = np.concatenate([np.zeros(0, np.int32), *(e[-1] for e in examples)])
    unigrams = np.bincount(targets, minlength=self._key.vocabulary_size)
    unigrams[EOS_ID] += len(examples)
    metadata = ShardMetadata(
      file=path.name,
      bytes=path.stat().st_size,
      sha256=_sha256(path),
      documents=len(items),
      characters=sum(map(num_characters, items)),
      examples=len(examples),
      tokens={
        feature: sum(len(example[i]) for example in examples)
        for i, feature in enumerate(self._features)
      },
      cut=cut,
      digest=digest,
      unigrams=unigrams.tolist(),
    )
    cache.write_json(_metadata_path(path), dataclasses.asdict(metadata))
    return metadata

  def _examples(self, item: Item, cut: dict[str, int]) -> list[tuple[np.ndarray, ...]]:
    """Returns the examples of an item; counts the truncated texts in `cut`."""
    length = self._key.length
    if isinstance(item, str):
      ids = self._vocabulary.encode(item)
      windows = split_into_windows(ids, self._boundaries, length["target"])
      return [(window,) for window in windows]
    pair = []
    for feature, text in zip(self._features, item, strict=True):
      ids = self._vocabulary.encode(text)
      cut[feature] += len(ids) > length[feature]
      pair.append(ids[: length[feature]])
    return [tuple(pair)]
