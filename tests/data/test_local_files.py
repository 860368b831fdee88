# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Any file of the user gives a training and a validation split."""

import json

import pytest
import tiny_text

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets.held_out_split import HELD_OUT_ONE_IN
from elmer_jax.data.datasets.local_files import pair_files_dataset, text_files_dataset


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
