# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A cache whose descriptions are damaged is one line, or is prepared again."""

import json

import pytest
import tiny
import tiny_text

from elmer_jax.core.errors import UserError
from elmer_jax.data import prepared_data
from elmer_jax.data.cache import cache, writer
from elmer_jax.data.datasets.local_files import text_files_dataset
from elmer_jax.data.preparation import prepare


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  """A configuration and the folder of its prepared data."""
  folder = tmp_path_factory.mktemp("prepared")
  text = folder / "text.txt"
  text.write_text("\n\n".join(tiny_text.documents(60)))
  vocabulary = folder / "vocabulary"
  tiny_text.vocabulary().save(vocabulary)
  config = tiny.configure(
    data__task="text_lplm", data__files=str(text), data__vocabulary=str(vocabulary)
  )
  prepare(config, str(folder))
  return config, folder


def change(path, **values):
  """Sets values of a JSON object, or deletes those that are ..."""
  content = json.loads(path.read_text()) | values
  path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


MANIFESTS = {
  "no shards": {"shards": ...},
  "shards are a number": {"shards": 3},
  "a shard is a number": {"shards": [3]},
  "a shard elsewhere": {"shards": [{"file": "../x", "bytes": 1, "examples": 5}]},
  "an absolute shard": {"shards": [{"file": "/etc/passwd", "bytes": 1, "examples": 5}]},
  "fewer examples": {"examples": 5},
  "another kind": {"kind": "poems"},
}
MIXTURES = {
  "no parts": {"parts": ...},
  "empty parts": {"parts": []},
  "a part is a word": {"parts": ["text_lplm"]},
  "a task elsewhere": {
    "parts": [{"task": "../../x", "kind": "lplm", "rate": 1, "splits": ["train"]}]
  },
  "a split elsewhere": {
    "parts": [{"task": "x", "kind": "lplm", "rate": 1, "splits": ["../train"]}]
  },
  "a rate that is not finite": {
    "parts": [{"task": "x", "kind": "lplm", "rate": float("nan"), "splits": ["train"]}]
  },
}


@pytest.mark.parametrize("case", [*MANIFESTS, *MIXTURES, "nested", "cut"])
def test_damaged_descriptions_are_one_line(prepared, case):
  config, folder = prepared
  path = folder / "cache" / "text_lplm.mixture.json"
  if case not in MIXTURES:
    path = folder / "cache" / "text_lplm" / "train" / cache.MANIFEST
  whole = path.read_text()
  try:
    if case == "nested":
      path.write_text("[" * 100_000)
    elif case == "cut":
      path.write_text(whole[: len(whole) // 2])
    else:
      change(path, **(MANIFESTS | MIXTURES)[case])
    with pytest.raises(UserError, match=f"{path} is damaged .*: delete it and prepare"):
      prepare(config, str(folder))
  finally:
    path.write_text(whole)
  prepare(config, str(folder))


@pytest.mark.parametrize(
  "note", ["", "[]", "[" * 100_000, "{}", '{"digest": 3}', '{"file": "../x"}']
)
def test_a_damaged_note_of_a_shard_writes_the_shard_again(prepared, tmp_path, note):
  config, folder = prepared
  vocabulary = tiny_text.vocabulary()
  [part] = prepared_data.read_parts(config, str(folder))
  key = prepared_data.cache_key(config, part, "train", vocabulary)
  spec = text_files_dataset(config.data.task, config.data.files)
  (tmp_path / "00000.json").write_text(note)
  (tmp_path / "00000.arrayrecord").write_bytes(b"anything")
  manifest = writer.write_cache(tmp_path, spec, key, vocabulary, 1)
  assert len(cache.open_cache(tmp_path, key)) == manifest["examples"]
