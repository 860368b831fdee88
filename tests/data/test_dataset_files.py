# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Which files belong to which public data set, and errors of one line for mistakes."""

import json

import pytest
import tiny
import tiny_text

from elmer_jax.core.errors import UserError
from elmer_jax.data import tasks
from elmer_jax.data.datasets import dataset_files


@pytest.fixture(autouse=True)
def no_files_set(monkeypatch, tmp_path):
  monkeypatch.setattr(dataset_files, "_files_by_task", {})
  monkeypatch.delenv(dataset_files.FILES_VARIABLE, raising=False)
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


@pytest.fixture
def texts(tmp_path):
  """Documents by name of the file that holds them."""
  texts = {}
  for number, name in enumerate(("w.jsonl", "b.jsonl")):
    texts[name] = tiny_text.documents(60, seed=number)
    lines = [json.dumps({"text": text}) for text in texts[name]]
    (tmp_path / name).write_text("\n".join(lines))
  return texts


def read(name):
  [(spec, _)] = tasks.dataset_specs_of(name)
  return sorted([*spec.read("train"), *spec.read("validation")])


def configure(task, files):
  return tiny.configure(data__task=task, data__files=files)


def test_entries_are_grouped_by_task():
  found = dataset_files.split_by_task(
    "books_lplm=b/*.zst, a.txt,books_lplm=c.txt,/x=y/z"
  )
  assert found == {"books_lplm": "b/*.zst,c.txt", "": "a.txt,/x=y/z"}


def test_a_file_name_may_contain_an_equals_sign(tmp_path, monkeypatch):
  (tmp_path / "year=7.txt").write_text("text")
  monkeypatch.chdir(tmp_path)
  assert dataset_files.split_by_task("year=7.txt") == {"": "year=7.txt"}
  with pytest.raises(UserError, match="'year'.*no public data set of this name"):
    dataset_files.split_by_task("year=8.txt")


def test_use_files_precedes_the_variable(texts, tmp_path, monkeypatch):
  expected = sorted(text.strip() for text in texts["w.jsonl"])
  config = configure("wikipedia_lplm", str(tmp_path / "w.jsonl"))
  with dataset_files.use_configured_files(config):
    assert read("wikipedia_lplm") == expected
  with pytest.raises(UserError, match="TFDS has no prepared wikipedia"):
    read("wikipedia_lplm")
  files = f"books_lplm={tmp_path}/b.jsonl,wikipedia_lplm={tmp_path}/w.jsonl"
  monkeypatch.setenv(dataset_files.FILES_VARIABLE, files)
  assert read("wikipedia_lplm") == expected
  tasks.use_files("wikipedia_lplm", str(tmp_path / "b.jsonl"))
  assert read("wikipedia_lplm") == sorted(text.strip() for text in texts["b.jsonl"])


@pytest.mark.parametrize(
  ("task", "files", "message"),
  [
    (
      "books_wiki_lplm",
      "a.txt",
      "name the part of books_wiki_lplm that 'a.txt' belongs to",
    ),
    (
      "books_lplm",
      "wikipedia_lplm=a",
      "wikipedia_lplm, which is not part of books_lplm",
    ),
    (
      "pydocs_pretrain",
      "books_lplm=a",
      "books_lplm, which is not part of pydocs_pretrain",
    ),
    ("xsum", "a.jsonl", "xsum can only be read from TFDS"),
    (
      "books_wiki_lplm",
      "book_lplm=a",
      "no public data set of this name.* Did you mean 'books_lplm'",
    ),
  ],
)
def test_files_of_no_part_raise(task, files, message):
  with pytest.raises(UserError, match=message):
    dataset_files.has_own_files(configure(task, files))


@pytest.mark.parametrize(
  ("task", "files", "own"),
  [
    ("text_lplm", "a.txt", True),
    ("pydocs_summary", "a.jsonl", True),
    ("squad_question_generation", "a.jsonl", False),
    ("books_wiki_lplm", "wikipedia_lplm=a,books_lplm=b", False),
    ("books_wiki_lplm", "", False),
  ],
)
def test_own_files_differ_from_files_of_public_data_sets(task, files, own):
  assert dataset_files.has_own_files(configure(task, files)) is own


@pytest.mark.parametrize(
  ("task", "message"),
  [
    ("wikipedia_lplm", "`tfds build wikipedia --config 20230601.en`.*wikipedia_lplm="),
    ("xsum", "`tfds build xsum`"),
    ("cnn_dailymail", "`tfds build cnn_dailymail`"),
    ("squad_question_generation", "`tfds build squad --config v1.1`.*_generation="),
    ("books_lplm", "read from files only: .*books_lplm="),
    ("personachat", "read from files only: .*personachat="),
  ],
)
def test_a_missing_data_set_raises_with_the_way_to_get_it(task, message):
  [(spec, _)] = tasks.dataset_specs_of(task)
  with pytest.raises(UserError, match=message) as caught:
    spec.read("train")
  assert "\n" not in str(caught.value)


def test_files_of_an_unknown_data_set_raise(tmp_path):
  with pytest.raises(UserError, match="Did you mean 'personachat'"):
    tasks.use_files("persona_chat", "a.json")
  with pytest.raises(UserError, match="this file is missing"):
    tasks.use_files("personachat", str(tmp_path / "a.json"))
