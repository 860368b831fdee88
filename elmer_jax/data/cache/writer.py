# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Makes a cache: documents → ids → windows or pairs → shards, by several processes.

Documents go to shards by the number of characters before them, so that the bytes are
the same whatever the number of processes. One process reads, and hands whole shards to
the others. A finished shard has a note beside it until the whole cache is finished; it
is used again after an interruption, if it is whole and its documents are the same.
"""

import concurrent.futures
import hashlib
import json
import math
import multiprocessing
import os
import pathlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from elmer_jax.core.atomic_files import replacing
from elmer_jax.core.errors import UserError
from elmer_jax.data.cache import cache, records
from elmer_jax.data.cache.cache import Purpose
from elmer_jax.data.cache.prepare_progress import Progress
from elmer_jax.data.cache.windows import Boundaries, windows
from elmer_jax.data.datasets.dataset import DatasetSpec, Item, num_characters
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.tokenizer.special_ids import EOS_ID

# A shard is closed by the document with which it reaches this many characters.
SHARD_CHARACTERS = 2**24

# Each record stands on its own, so that it is read without its neighbours. Ids hardly
# compress, and trying takes seven times as long as the rest of the writing.
_WRITER_OPTIONS = "group_size:1,uncompressed"


def write_cache(
  directory: str | os.PathLike,
  spec: DatasetSpec,
  purpose: Purpose,
  vocabulary: Vocabulary,
  processes: int = 1,
  progress: Progress | None = None,
) -> dict:
  """Writes the cache of a split, or finishes one that was interrupted.

  Args:
    directory: the folder of the cache; a finished cache there is left as it is.
    spec: where the documents or pairs come from.
    purpose: split, kind, vocabulary and lengths.
    vocabulary: makes the ids.
    processes: how many encode at the same time; 0: one for each CPU core.
    progress: is told what is made.

  Returns:
    The manifest.

  Raises:
    UserError: the folder holds a cache for another purpose or can't be written to, the
      documents can't be read, or there are none.
  """
  directory = pathlib.Path(directory)
  manifest = cache.read_json(directory / cache.MANIFEST)
  if manifest is not None:
    cache.check_fit(manifest, purpose.manifest(), directory)
    return manifest
  size = spec.size(purpose.split) if spec.size else None
  processes = processes or os.cpu_count() or 1
  if size is not None:
    processes = min(processes, math.ceil(size / SHARD_CHARACTERS))

  progress = progress or Progress()
  progress.begin(f"{purpose.task}/{purpose.split}", size)
  unigrams = np.zeros(vocabulary.size, np.int64)
  shards = []
  jobs = _jobs(directory, spec.read(purpose.split), purpose)
  for note, made in _run(jobs, vocabulary, purpose, processes):
    unigrams += np.array(note.pop("unigrams"))
    shards.append({key: note[key] for key in note if key != "digest"})
    progress.add(note, made)
  shards.sort(key=lambda shard: shard["file"])
  manifest = purpose.manifest() | _totals(shards) | {"shards": shards}
  if not shards or not manifest["examples"]:
    raise UserError(f"task {purpose.task} has no text in its split {purpose.split}")

  with replacing(directory / cache.UNIGRAMS) as path, path.open("wb") as file:
    np.save(file, unigrams)
  cache.write_json(directory / cache.MANIFEST, manifest)
  _clean(directory, shards)
  progress.end(manifest)
  return manifest


def _clean(directory: pathlib.Path, shards: list[dict]) -> None:
  """Removes what only an unfinished cache has, and what killed processes left."""
  kept = {cache.MANIFEST, *(shard["file"] for shard in shards)}
  for pattern in ("*.json", "*.arrayrecord", ".*"):
    for path in directory.glob(pattern):
      if path.name not in kept:
        path.unlink(missing_ok=True)


def _totals(shards: list[dict]) -> dict:
  def total(name: str) -> int | dict[str, int]:
    values = [shard[name] for shard in shards]
    if isinstance(values[0], dict):
      return {key: sum(value[key] for value in values) for key in values[0]}
    return sum(values)

  names = ("documents", "examples", "tokens", "cut") if shards else ()
  return {name: total(name) for name in names}


# A shard to be made: its path, the digest of what goes in, the items that go in.
_Job = tuple[pathlib.Path, str, list[Item]]


def _jobs(
  directory: pathlib.Path, items: Iterable[Item], purpose: Purpose
) -> Iterator[_Job]:
  made_for = json.dumps(purpose.manifest(), sort_keys=True).encode()
  for number, shard in enumerate(_shards(items)):
    digest = hashlib.blake2b(made_for, digest_size=16)
    for item in shard:
      for text in [item] if isinstance(item, str) else item:
        digest.update(text.encode("utf-8", "replace") + b"\0")
    yield directory / f"{number:05}.arrayrecord", digest.hexdigest(), shard


def _shards(items: Iterable[Item]) -> Iterator[list[Item]]:
  shard, size = [], 0
  for item in items:
    shard.append(item)
    size += num_characters(item)
    if size >= SHARD_CHARACTERS:
      yield shard
      shard, size = [], 0
  if shard:
    yield shard


def _run(
  jobs: Iterable[_Job], vocabulary: Vocabulary, purpose: Purpose, processes: int
) -> Iterator[tuple[dict, bool]]:
  """Yields the note of each shard, and whether this start made it, in any order."""
  if processes <= 1:
    encoder = _Encoder(vocabulary, purpose)
    for job in jobs:
      note = _finished(job)
      yield note or encoder.make(job), note is None
    return
  # Forking a process that has threads (JAX's, TensorFlow's) may hang: spawn.
  context = multiprocessing.get_context("spawn")
  pool = concurrent.futures.ProcessPoolExecutor(
    processes, context, _start_worker, (vocabulary, purpose)
  )
  running = set()
  try:
    for job in jobs:
      if note := _finished(job):
        yield note, False
        continue
      running.add(pool.submit(_make_in_worker, job))
      # A shard for each process and one that waits: reading must not fill the memory.
      while len(running) > processes:
        done, running = concurrent.futures.wait(running, None, "FIRST_COMPLETED")
        yield from ((future.result(), True) for future in done)
    for future in concurrent.futures.as_completed(running):
      yield future.result(), True
  except BrokenProcessPool:
    raise UserError(
      "a process that prepares the data was ended from outside, perhaps for want of "
      "memory: start again with a lower data.num_workers; finished shards are kept"
    ) from None
  finally:
    pool.shutdown(cancel_futures=True)


def _finished(job: _Job) -> dict | None:
  """Returns the note of a shard that an earlier start finished, None without one."""
  path, digest, _ = job
  note = cache.read_json(_note_path(path))
  if note is None or note["digest"] != digest or not path.exists():
    return None
  return note if _sha256(path) == note["sha256"] else None


def _note_path(path: pathlib.Path) -> pathlib.Path:
  return path.with_suffix(".json")


def _sha256(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


_encoder: "_Encoder"


def _start_worker(vocabulary: Vocabulary, purpose: Purpose) -> None:
  global _encoder
  _encoder = _Encoder(vocabulary, purpose)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  """Ends this worker when the process that started it is gone, even by `kill -9`.

  Otherwise it would wait for work for ever.
  """
  multiprocessing.parent_process().join()
  os._exit(1)


def _make_in_worker(job: _Job) -> dict:
  return _encoder.make(job)


class _Encoder:
  """Turns items into the examples of a shard."""

  def __init__(self, vocabulary: Vocabulary, purpose: Purpose):
    self._vocabulary = vocabulary
    self._purpose = purpose
    self._boundaries = Boundaries.of(vocabulary)
    self._features = cache.FEATURES[purpose.kind]

  def make(self, job: _Job) -> dict:
    """Writes a shard and then its note, and returns the note."""
    from array_record.python import array_record_module

    path, digest, items = job
    cut = dict.fromkeys(self._features, 0)
    examples = [example for item in items for example in self._examples(item, cut)]
    dtype = records.id_dtype(self._purpose.vocabulary_size)
    with replacing(path) as temporary:
      try:
        writer = array_record_module.ArrayRecordWriter(str(temporary), _WRITER_OPTIONS)
        for example in examples:
          writer.write(records.pack(example, dtype))
        writer.close()
      except RuntimeError as error:  # what a full disk is to this library
        raise OSError(str(error)) from None
    targets = np.concatenate([np.zeros(0, np.int32), *(e[-1] for e in examples)])
    unigrams = np.bincount(targets, minlength=self._purpose.vocabulary_size)
    unigrams[EOS_ID] += len(examples)
    note = {
      "file": path.name,
      "bytes": path.stat().st_size,
      "sha256": _sha256(path),
      "documents": len(items),
      "characters": sum(map(num_characters, items)),
      "examples": len(examples),
      "tokens": {
        feature: sum(len(example[i]) for example in examples)
        for i, feature in enumerate(self._features)
      },
      "cut": cut,
      "digest": digest,
      "unigrams": unigrams.tolist(),
    }
    cache.write_json(_note_path(path), note)
    return note

  def _examples(self, item: Item, cut: dict[str, int]) -> list[tuple[np.ndarray, ...]]:
    """Returns the examples of an item; counts in `cut` what had to be shortened."""
    length = self._purpose.length
    if isinstance(item, str):
      ids = self._vocabulary.encode(item)
      return [(w,) for w in windows(ids, self._boundaries, length["target"])]
    pair = []
    for feature, text in zip(self._features, item, strict=True):
      ids = self._vocabulary.encode(text)
      cut[feature] += len(ids) > length[feature]
      pair.append(ids[: length[feature]])
    return [tuple(pair)]
