# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Any file of the user gives a training and a validation split."""

import dataclasses
import json

import pytest
import tiny_text

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets.held_out_split import HELD_OUT_ONE_IN
from elmer_jax.data.datasets.local_files import (
  OwnFiles,
  pair_files_dataset,
  text_files_dataset,
)


def write(path, texts):
  path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
  return str(path)


def split(files):
  spec = text_files_dataset("own", files)
  return list(spec.read("train")), list(spec.read("validation"))


def test_every_document_is_in_one_split(tmp_path):
  texts = tiny_text.documents(1000)
  train, validation = split(write(tmp_path / "a.jsonl", texts))
  assert sorted(train + validation) == sorted(texts)
  assert 0.5 < len(validation) * HELD_OUT_ONE_IN / len(texts) < 2


def test_the_split_of_a_document_does_not_depend_on_other_documents(tmp_path):
  texts = tiny_text.documents(600)
  _, held_out = split(write(tmp_path / "all.jsonl", texts))
  halves = [
    write(tmp_path / "b.jsonl", texts[:300]),
    write(tmp_path / "a.jsonl", texts[300:]),
  ]
  _, in_halves = split(",".join(halves))
  assert sorted(in_halves) == sorted(held_out)


@pytest.mark.parametrize("count", [2, 5, 20])
def test_few_documents_give_both_splits(tmp_path, count):
  texts = tiny_text.documents(count, seed=3)
  train, validation = split(write(tmp_path / "a.jsonl", texts))
  assert train and validation
  assert sorted("".join(train + validation)) == sorted("".join(texts))


def test_a_single_document_is_divided_near_its_end(tmp_path):
  (text,) = tiny_text.documents(1, sentences=2000)
  text = text * 10
  path = tmp_path / "book.jsonl"
  (train,), (validation,) = split(write(path, [text]))
  assert train + validation == text
  assert train[-1].isspace() and not validation[0].isspace()
  assert 0.01 < len(validation) / len(text) < 0.2


def test_a_single_word_is_divided(tmp_path):
  (train,), (validation,) = split(write(tmp_path / "a.jsonl", ["abcdef"]))
  assert train + validation == "abcdef"


def test_pairs_with_the_same_source_are_in_the_same_split(tmp_path):
  path = tmp_path / "pairs.tsv"
  path.write_text("".join(f"source {i % 300}\ttarget {i}\n" for i in range(600)))
  spec = pair_files_dataset("own", str(path))
  train, validation = list(spec.read("train")), list(spec.read("validation"))
  assert len(train) + len(validation) == 600 and validation
  assert not {source for source, _ in train} & {source for source, _ in validation}


def test_missing_files_raise_before_reading(tmp_path):
  with pytest.raises(UserError, match="missing"):
    text_files_dataset("own", str(tmp_path / "none.txt"))


def own(tmp_path, **files) -> OwnFiles:
  """Writes a TSV file of "source target" pairs for each split."""
  paths = {}
  for split, pairs in files.items():
    paths[split] = str(tmp_path / f"{split}.tsv")
    lines = "".join("\t".join(pair.split()) + "\n" for pair in pairs)
    (tmp_path / f"{split}.tsv").write_text(lines)
  return OwnFiles(**paths)


def test_own_validation_and_test_files_leave_all_other_pairs_for_training(tmp_path):
  files = own(tmp_path, train=["a x", "b y"], validation=["c z"], test=["d u", "d v"])
  spec = pair_files_dataset("own", files)
  assert spec.splits == ("train", "validation", "test")
  found = {split: list(spec.read(split)) for split in spec.splits}
  assert found["train"] == [("a", "x"), ("b", "y")]
  assert found["validation"] == [("c", "z")]
  assert found["test"] == [("d", "u"), ("d", "v")]


def test_test_files_alone_leave_validation_to_the_training_files(tmp_path):
  pairs = [f"s{number} t" for number in range(100)]
  spec = pair_files_dataset("own", own(tmp_path, train=pairs, test=["a x"]))
  assert len(list(spec.read("train"))) + len(list(spec.read("validation"))) == 100
  assert list(spec.read("test")) == [("a", "x")]


def test_a_file_for_two_purposes_is_refused(tmp_path):
  files = own(tmp_path, train=["a x", "b y"])
  with pytest.raises(UserError, match="in data.files and data.test_files"):
    pair_files_dataset("own", dataclasses.replace(files, test=files.train))


@pytest.mark.parametrize("pairs", [["a x"], [f"a x{number}" for number in range(100)]])
def test_pairs_of_one_source_need_other_validation_files(tmp_path, pairs):
  spec = pair_files_dataset("own", own(tmp_path, train=pairs))
  with pytest.raises(UserError, match="all pairs have the same source"):
    list(spec.read("train"))
  spec = pair_files_dataset("own", own(tmp_path, train=pairs, validation=["b y"]))
  assert len(list(spec.read("train"))) == len(pairs)


def test_two_sources_give_both_splits_whatever_their_hashes(tmp_path):
  for number in range(120):
    spec = pair_files_dataset("own", own(tmp_path, train=[f"a{number} x", "b y"]))
    assert list(spec.read("train")) and list(spec.read("validation"))
    spec = text_files_dataset("own", write(tmp_path / "a.jsonl", [f"some {number}"]))
    assert list(spec.read("train")) and list(spec.read("validation"))
