# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a cache: documents → ids → windows or pairs → shards, by worker processes.

The main process reads the documents and hands whole shards of them to the workers. The
shard of a document depends only on the number of characters before it, so the bytes are
the same for any number of workers. Shards of an interrupted preparation are reused if
they are complete and have the same documents.
"""

import concurrent.futures
import hashlib
import json
import math
import multiprocessing
import os
import pathlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from elmer_jax.core import signals
from elmer_jax.core.atomic_files import replacing
from elmer_jax.core.errors import UserError
from elmer_jax.data.cache import cache
from elmer_jax.data.cache.cache import CacheKey
from elmer_jax.data.cache.prepare_progress import PrepareProgress
from elmer_jax.data.cache.shard import (
  ShardJob,
  ShardMetadata,
  ShardWriter,
  read_finished,
)
from elmer_jax.data.datasets.dataset import DatasetSpec, Item, num_characters
from elmer_jax.tokenizer.bpe import Vocabulary

# A shard ends with the document that brings it to this number of characters: the first
# 64 shards, and then more and more, so that a large corpus has hundreds of files, not
# tens of thousands. A worker process keeps the text of a shard in memory.
SHARD_CHARACTERS = 2**24
_MAX_GROWTH = 8


def write_cache(
  directory: str | os.PathLike,
  spec: DatasetSpec,
  key: CacheKey,
  vocabulary: Vocabulary,
  num_workers: int = 1,
  progress: PrepareProgress | None = None,
) -> dict:
  """Writes the cache of a split, or completes an interrupted one.

  Args:
    directory: the folder of the cache; a finished cache there is left as it is.
    spec: where the documents or pairs come from.
    key: split, kind, vocabulary and lengths.
    vocabulary: encodes the texts.
    num_workers: number of worker processes; 0: one for each CPU core.
    progress: logs what is written.

  Returns:
    The manifest.

  Raises:
    UserError: the folder holds a cache with another key or can't be written to, the
      documents can't be read, or there are none.
  """
  directory = pathlib.Path(directory)
  manifest = cache.read_manifest(directory)
  if manifest is not None:
    cache.check_matches(manifest, key.manifest(), directory)
    return manifest
  size = spec.size(key.split) if spec.size else None
  num_workers = num_workers or os.cpu_count() or 1
  if size is not None:
    num_workers = min(num_workers, math.ceil(size / SHARD_CHARACTERS))

  progress = progress or PrepareProgress()
  progress.start_cache(f"{key.task}/{key.split}", size)
  unigrams = np.zeros(vocabulary.size, np.int64)
  shards = []
  jobs = _shard_jobs(directory, spec.read(key.split), key)
  for shard, is_new in _write_shards(jobs, vocabulary, key, num_workers):
    unigrams += np.array(shard.unigrams)
    shards.append(shard.manifest())
    progress.add_shard(shard, is_new)
  shards.sort(key=lambda shard: shard["file"])
  totals = _totals(shards, cache.FEATURES[key.kind])
  manifest = key.manifest() | totals | {"shards": shards}
  if not manifest["examples"]:
    raise UserError(f"task {key.task} has no text in its split {key.split}")

  with replacing(directory / cache.UNIGRAMS) as path, path.open("wb") as file:
    np.save(file, unigrams)
  cache.write_json(directory / cache.MANIFEST, manifest)
  _remove_other_files(directory, shards)
  progress.finish_cache(manifest)
  return manifest


def _remove_other_files(directory: pathlib.Path, shards: list[dict]) -> None:
  """Removes the shards' metadata and temporary files of killed processes."""
  kept = {cache.MANIFEST, *(shard["file"] for shard in shards)}
  for pattern in ("*.json", "*.arrayrecord", ".*"):
    for path in directory.glob(pattern):
      if path.name not in kept:
        path.unlink(missing_ok=True)


def _totals(shards: list[dict], features: Sequence[str]) -> dict:
  totals = {name: sum(s[name] for s in shards) for name in ("documents", "examples")}
  for name in ("tokens", "cut"):
    totals[name] = {f: sum(s[name][f] for s in shards) for f in features}
  return totals


def _shard_jobs(
  directory: pathlib.Path, items: Iterable[Item], key: CacheKey
) -> Iterator[ShardJob]:
  key_bytes = json.dumps(key.manifest(), sort_keys=True).encode()
  for number, shard in enumerate(_split_into_shards(items)):
    digest = hashlib.blake2b(key_bytes, digest_size=16)
    for item in shard:
      for text in [item] if isinstance(item, str) else item:
        digest.update(text.encode("utf-8", "replace") + b"\0")
    yield ShardJob(directory / f"{number:05}.arrayrecord", digest.hexdigest(), shard)


def _split_into_shards(items: Iterable[Item]) -> Iterator[list[Item]]:
  shard, size, before = [], 0, 0
  for item in items:
    shard.append(item)
    size += num_characters(item)
    if size >= shard_characters(before):
      yield shard
      shard, size, before = [], 0, before + size
  if shard:
    yield shard


def shard_characters(before: int) -> int:
  """Returns the characters at which a shard ends, if `before` are in the earlier ones.

  100 GB of text are 880 shards.
  """
  return min(max(SHARD_CHARACTERS, before // 64), _MAX_GROWTH * SHARD_CHARACTERS)


def _write_shards(
  jobs: Iterable[ShardJob], vocabulary: Vocabulary, key: CacheKey, num_workers: int
) -> Iterator[tuple[ShardMetadata, bool]]:
  """Yields the metadata of each shard and whether it is new, in any order."""
  if num_workers <= 1:
    writer = ShardWriter(vocabulary, key)
    for job in jobs:
      finished = read_finished(job)
      yield finished or writer.write(job), finished is None
    return
  # Forking a process that has threads (JAX's, TensorFlow's) may hang: spawn.
  context = multiprocessing.get_context("spawn")
  pool = concurrent.futures.ProcessPoolExecutor(
    num_workers, context, _init_worker, (vocabulary, key)
  )
  running = set()
  try:
    for job in jobs:
      if finished := read_finished(job):
        yield finished, False
        continue
      with signals.interrupts_blocked_in_children():
        running.add(pool.submit(_write_in_worker, job))
      # One shard for each worker and one that waits: bounds the memory.
      while len(running) > num_workers:
        done, running = concurrent.futures.wait(running, None, "FIRST_COMPLETED")
        yield from ((future.result(), True) for future in done)
    for future in concurrent.futures.as_completed(running):
      yield future.result(), True
  except BrokenProcessPool:
    raise UserError(
      "a worker process of the preparation was killed, perhaps out of memory: start "
      "again with a lower data.num_workers; finished shards are kept"
    ) from None
  finally:
    pool.shutdown(cancel_futures=True)


_shard_writer: ShardWriter  # of a worker process


def _init_worker(vocabulary: Vocabulary, key: CacheKey) -> None:
  global _shard_writer
  _shard_writer = ShardWriter(vocabulary, key)
  threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
  """Exits when the parent process is gone, even by `kill -9`.

  Otherwise the worker would wait for jobs forever.
  """
  multiprocessing.parent_process().join()
  os._exit(1)


def _write_in_worker(job: ShardJob) -> ShardMetadata:
  return _shard_writer.write(job)
