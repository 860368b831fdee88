# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Caches hold all ids, with the same bytes for any number of workers and restarts."""

import dataclasses
import json
import os
import pathlib
import pickle
import re
import resource

import numpy as np
import pytest
import tiny_text

from elmer_jax.core import open_files
from elmer_jax.core.errors import UserError
from elmer_jax.data.cache import cache, records, writer
from elmer_jax.data.cache.cache import CacheKey, open_cache
from elmer_jax.data.cache.windows import Boundaries, split_into_windows
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.tokenizer.special_ids import EOS_ID

TEXTS = tiny_text.documents(120)
LENGTH = 30
PAIRS = [(text, text[:20]) for text in TEXTS[:20]]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
  monkeypatch.setattr(writer, "SHARD_CHARACTERS", 8000)


def spec(texts=TEXTS, kind="lplm") -> DatasetSpec:
  return DatasetSpec("tiny", kind, lambda split: iter(texts))


def cache_key(kind="lplm") -> CacheKey:
  # A window of LENGTH fits 32 positions of the source and 31 of the target.
  return CacheKey.create("tiny", kind, "train", tiny_text.vocabulary(), 32, LENGTH + 1)


def write(directory, texts=TEXTS, kind="lplm", num_workers=1) -> dict:
  return writer.write_cache(
    directory, spec(texts, kind), cache_key(kind), tiny_text.vocabulary(), num_workers
  )


def contents(directory: pathlib.Path) -> dict[str, bytes]:
  return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def expected_windows() -> list[np.ndarray]:
  vocabulary = tiny_text.vocabulary()
  boundaries = Boundaries.from_vocabulary(vocabulary)
  documents = [
    split_into_windows(vocabulary.encode(t), boundaries, LENGTH) for t in TEXTS
  ]
  return [window for parts in documents for window in parts]


def test_windows_in_order(tmp_path):
  manifest = write(tmp_path / "c")
  opened = pickle.loads(pickle.dumps(open_cache(tmp_path / "c", cache_key())))
  expected = expected_windows()
  assert len(opened) == len(expected) == manifest["examples"]
  assert len(manifest["shards"]) > 2
  assert manifest["documents"] == len(TEXTS)
  assert manifest["tokens"] == {"target": sum(map(len, expected))}
  for index, window in enumerate(expected):
    example = opened[index]
    assert example.keys() == {"target"} and example["target"].dtype == np.int32
    np.testing.assert_array_equal(example["target"], window)


def test_unigrams_count_target_tokens(tmp_path):
  write(tmp_path / "c")
  expected = expected_windows()
  counts = np.bincount(np.concatenate(expected), minlength=tiny_text.vocabulary().size)
  counts[EOS_ID] += len(expected)
  np.testing.assert_array_equal(open_cache(tmp_path / "c").unigrams(), counts)


def test_pairs_are_truncated_and_counted(tmp_path, caplog):
  with caplog.at_level("WARNING"):
    manifest = write(tmp_path / "c", PAIRS, "pairs")
  opened = open_cache(tmp_path / "c", cache_key("pairs"))
  vocabulary = tiny_text.vocabulary()
  long = 0
  for index, (source, target) in enumerate(PAIRS):
    ids = vocabulary.encode(source)
    long += len(ids) > 30
    np.testing.assert_array_equal(opened[index]["source"], ids[:30])
    np.testing.assert_array_equal(opened[index]["target"], vocabulary.encode(target))
  assert manifest["cut"] == {"source": long, "target": 0} and long > 0
  [warning] = caplog.messages
  assert f"{long} of 20 texts of feature source are longer than 30 ids" in warning


def test_two_workers_write_the_same_bytes(tmp_path):
  write(tmp_path / "one")
  write(tmp_path / "two", num_workers=2)
  assert contents(tmp_path / "one") == contents(tmp_path / "two")


def interrupted():
  yield from TEXTS[:90]
  raise KeyboardInterrupt


def test_an_interrupted_cache_is_completed_with_its_shards(tmp_path, caplog):
  folder = tmp_path / "c"
  with pytest.raises(KeyboardInterrupt):
    write(folder, interrupted())
  with pytest.raises(UserError, match="no finished cache"):
    open_cache(folder)
  finished = {path.name: path.stat() for path in folder.glob("*.arrayrecord")}
  assert len(finished) > 2
  damaged = folder / "00001.arrayrecord"
  damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x01")
  (folder / ".00003.arrayrecord.123").write_text("left by a killed process")

  with caplog.at_level("INFO"):
    manifest = write(folder)
  write(tmp_path / "uninterrupted")
  assert contents(folder) == contents(tmp_path / "uninterrupted")
  # Shards that were kept are in the total and reported as reused.
  [line] = caplog.messages
  assert f"tiny/train: {manifest['examples']} examples from 120 documents" in line
  assert re.search(r"[\d,]+ of them reused, \d\d?\.\d % padding", line)
  for name, before in finished.items():
    again = (folder / name).stat()
    assert (again.st_ino == before.st_ino) == (name != damaged.name)


def test_other_documents_are_not_mixed_with_finished_shards(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    write(tmp_path / "c", interrupted())
  others = tiny_text.documents(40, seed=1)
  write(tmp_path / "c", others)
  write(tmp_path / "fresh", others)
  assert contents(tmp_path / "c") == contents(tmp_path / "fresh")


def test_a_finished_cache_is_not_changed(tmp_path):
  write(tmp_path / "c")
  before = contents(tmp_path / "c")

  def unread():
    raise AssertionError("a finished cache needs no documents")
    yield

  write(tmp_path / "c", unread())
  assert contents(tmp_path / "c") == before


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"vocabulary": "f" * 64}, "another vocabulary: [0-9a-f]{12} there, f{12} here"),
    ({"length": {"target": 99}}, "another length: target 30 there, target 99 here"),
    ({"task": "other"}, "another task: 'tiny' there, 'other' here"),
    ({"split": "test"}, "another split: 'train' there, 'test' here"),
  ],
)
def test_a_cache_with_another_key_is_refused(tmp_path, change, message):
  write(tmp_path / "c")
  other_key = dataclasses.replace(cache_key(), **change)
  with pytest.raises(UserError, match=message):
    open_cache(tmp_path / "c", other_key)
  with pytest.raises(UserError, match=message):
    writer.write_cache(tmp_path / "c", spec(), other_key, tiny_text.vocabulary())


def test_a_cache_of_another_format_is_refused(tmp_path):
  write(tmp_path / "c")
  path = tmp_path / "c" / cache.MANIFEST
  path.write_text(json.dumps(json.loads(path.read_text()) | {"preprocessing": 0}))
  with pytest.raises(UserError, match="another preprocessing"):
    open_cache(tmp_path / "c", cache_key())


def test_truncated_and_missing_shards_are_refused(tmp_path):
  write(tmp_path / "c")
  shard = tmp_path / "c" / "00001.arrayrecord"
  whole = shard.read_bytes()
  shard.write_bytes(whole[:-10])
  with pytest.raises(UserError, match="00001.arrayrecord has .* bytes instead of"):
    open_cache(tmp_path / "c")
  shard.unlink()
  with pytest.raises(UserError, match="00001.arrayrecord has 0 bytes"):
    open_cache(tmp_path / "c")


def targets(directory) -> list[bytes]:
  opened = open_cache(directory)
  return [opened[index]["target"].tobytes() for index in range(len(opened))]


def test_a_flipped_bit_is_detected_or_has_no_effect(tmp_path):
  write(tmp_path / "c", TEXTS[:40])
  shard = tmp_path / "c" / "00000.arrayrecord"
  whole = shard.read_bytes()
  expected = targets(tmp_path / "c")
  rng = np.random.default_rng(0)
  # The header, the records after it, the start of the next block, and anywhere.
  places = [
    *range(0, 400, 9),
    *range(65536, 65620, 7),
    *rng.integers(0, len(whole), 40),
  ]
  detected = 0
  for place in places:
    damaged = bytearray(whole)
    damaged[place] ^= 1 << int(rng.integers(8))
    shard.write_bytes(damaged)
    try:
      found = targets(tmp_path / "c")
    except UserError as error:
      detected += 1
      assert re.fullmatch(
        r"the cache .*/c is damaged \(example \d+: [^(]* hash mismatch\): "
        r"delete it and prepare again",
        str(error),
      )
    else:
      assert found == expected
  # The rest are in the padding of a block.
  assert detected > 0.5 * len(places)


def test_a_damaged_example_does_not_affect_the_others(tmp_path):
  manifest = write(tmp_path / "c")
  shard = tmp_path / "c" / manifest["shards"][1]["file"]
  whole = bytearray(shard.read_bytes())
  opened = open_cache(tmp_path / "c")
  index = manifest["shards"][0]["examples"] + 3
  record = records.pack([opened[index]["target"]], records.id_dtype(330))
  whole[whole.index(record) + 5] ^= 64
  shard.write_bytes(whole)
  opened = open_cache(tmp_path / "c")
  with pytest.raises(UserError, match=f"example {index}: .*data hash mismatch"):
    opened[index]
  for other, window in enumerate(expected_windows()):
    if other != index:
      np.testing.assert_array_equal(opened[other]["target"], window)


def test_too_many_open_files_are_not_damage(tmp_path):
  write(tmp_path / "c")
  opened = open_cache(tmp_path / "c")
  limits = resource.getrlimit(resource.RLIMIT_NOFILE)
  next_file = os.open("/dev/null", os.O_RDONLY)
  os.close(next_file)
  resource.setrlimit(resource.RLIMIT_NOFILE, (next_file, limits[1]))
  try:
    with pytest.raises(UserError, match=r"read \(example 0: Too many open files\)$"):
      opened[0]
    with pytest.raises(UserError, match=r"unigrams.npy: Too many open files\)$"):
      opened.unigrams()
    open_files.raise_limit()
    assert len(open_cache(tmp_path / "c")[0]["target"])
  finally:
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_shards_grow_with_the_corpus(monkeypatch):
  monkeypatch.undo()
  sizes = []
  while sum(sizes) < 100e9:
    sizes.append(writer.shard_characters(sum(sizes)))
  assert sizes[:64] == [2**24] * 64  # as ever
  assert sizes == sorted(sizes) and len(sizes) < 1000
  assert max(sizes) == 2**27


def test_a_split_without_text_is_an_error_and_leaves_no_cache(tmp_path):
  with pytest.raises(UserError, match="tiny has no text in its split train"):
    write(tmp_path / "c", [])
  with pytest.raises(UserError, match="no finished cache"):
    open_cache(tmp_path / "c")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
  (tmp_path / "file").write_text("in the way")
  with pytest.raises(UserError, match="Not a directory"):
    write(tmp_path / "file" / "c")


@pytest.mark.parametrize(("size", "bytes_per_id"), [(65536, 2), (65537, 4)])
def test_records_hold_every_id(size, bytes_per_id):
  dtype = records.id_dtype(size)
  source, target = np.array([0, size - 1], np.int32), np.array([], np.int32)
  record = records.pack([source, target], dtype)
  assert len(record) == 2 * 4 + 2 * bytes_per_id
  features = records.unpack(record, ("source", "target"), dtype)
  assert features["source"].tolist() == [0, size - 1]
  assert features["target"].tolist() == []
