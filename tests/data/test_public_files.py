# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Files reach the public set that they belong to, and mistakes are told."""

import json

import pytest
import tiny
import tiny_text

from elmer_jax.core.errors import UserError
from elmer_jax.data import tasks
from elmer_jax.data.datasets import dataset_files
from elmer_jax.data.mixture_rates import parse_rates


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch, tmp_path):
  monkeypatch.setattr(dataset_files, "_files", {})
  monkeypatch.delenv(dataset_files.FILES_VARIABLE, raising=False)
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


@pytest.fixture
def texts(tmp_path):
  """Two files, and what is in them."""
  made = {}
  for number, name in enumerate(("w.jsonl", "b.jsonl")):
    made[name] = tiny_text.documents(60, seed=number)
    lines = [json.dumps({"text": text}) for text in made[name]]
    (tmp_path / name).write_text("\n".join(lines))
  return made


def read(name):
  [(spec, _)] = tasks.dataset_specs_of(name)
  return sorted([*spec.read("train"), *spec.read("validation")])


def configured(task, files):
  return tiny.configure(data__task=task, data__files=files)


def test_entries_are_divided_by_task():
  found = dataset_files.split_files("books_lplm=b/*.zst, a.txt,books_lplm=c.txt,/x=y/z")
  assert found == {"books_lplm": "b/*.zst,c.txt", "": "a.txt,/x=y/z"}


def test_a_file_may_have_an_equals_sign_in_its_name(tmp_path, monkeypatch):
  (tmp_path / "year=7.txt").write_text("text")
  monkeypatch.chdir(tmp_path)
  assert dataset_files.split_files("year=7.txt") == {"": "year=7.txt"}
  with pytest.raises(UserError, match="'year'.*no such public set"):
    dataset_files.split_files("year=8.txt")


def test_all_ways_to_name_files_read_the_same(texts, tmp_path, monkeypatch):
  expected = sorted(text.strip() for text in texts["w.jsonl"])
  config = configured("wikipedia_lplm", str(tmp_path / "w.jsonl"))
  with dataset_files.use_configured_files(config):
    assert read("wikipedia_lplm") == expected
  with pytest.raises(UserError, match="TFDS has no prepared wikipedia"):
    read("wikipedia_lplm")
  files = f"books_lplm={tmp_path}/b.jsonl,wikipedia_lplm={tmp_path}/w.jsonl"
  monkeypatch.setenv(dataset_files.FILES_VARIABLE, files)
  assert read("wikipedia_lplm") == expected
  tasks.use_files("wikipedia_lplm", str(tmp_path / "b.jsonl"))  # goes before
  assert read("wikipedia_lplm") == sorted(text.strip() for text in texts["b.jsonl"])


@pytest.mark.parametrize(
  ("task", "files", "said"),
  [
    (
      "books_wiki_lplm",
      "a.txt",
      "say to which part of books_wiki_lplm 'a.txt' belongs",
    ),
    (
      "books_lplm",
      "wikipedia_lplm=a",
      "wikipedia_lplm, which is no part of books_lplm",
    ),
    (
      "pydocs_pretrain",
      "books_lplm=a",
      "books_lplm, which is no part of pydocs_pretrain",
    ),
    ("xsum", "a.jsonl", "xsum is read from TFDS alone"),
    (
      "books_wiki_lplm",
      "book_lplm=a",
      "no such public set.* Did you mean 'books_lplm'",
    ),
  ],
)
def test_files_without_a_place_are_told(task, files, said):
  with pytest.raises(UserError, match=said):
    dataset_files.has_own_files(configured(task, files))


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
def test_own_files_are_told_from_public_ones(task, files, own):
  assert dataset_files.has_own_files(configured(task, files)) is own


@pytest.mark.parametrize(
  ("task", "said"),
  [
    ("wikipedia_lplm", "`tfds build wikipedia --config 20230601.en`.*wikipedia_lplm="),
    ("xsum", "`tfds build xsum`"),
    ("cnn_dailymail", "`tfds build cnn_dailymail`"),
    ("squad_question_generation", "`tfds build squad --config v1.1`.*_generation="),
    ("books_lplm", "read from files alone: .*books_lplm="),
    ("personachat", "read from files alone: .*personachat="),
  ],
)
def test_a_set_that_is_not_there_is_told_how_to_get(task, said):
  [(spec, _)] = tasks.dataset_specs_of(task)
  with pytest.raises(UserError, match=said) as caught:
    spec.read("train")
  assert "\n" not in str(caught.value)


def test_files_of_an_unknown_set_are_told(tmp_path):
  with pytest.raises(UserError, match="Did you mean 'personachat'"):
    tasks.use_files("persona_chat", "a.json")
  with pytest.raises(UserError, match="this file is missing"):
    tasks.use_files("personachat", str(tmp_path / "a.json"))


def test_rates_name_every_part_once():
  parts = ["wikipedia_lplm", "books_lplm"]
  assert parse_rates(" wikipedia_lplm=1, books_lplm = 2.5", parts) == {
    "wikipedia_lplm": 1.0,
    "books_lplm": 2.5,
  }
  assert parse_rates("", parts) == {}


@pytest.mark.parametrize(
  ("rates", "said"),
  [
    (
      "wiki_lplm=1,books_lplm=2",
      "'wiki_lplm' is no part.* Did you mean 'wikipedia_lplm'",
    ),
    ("books_lplm=2", "no rate for wikipedia_lplm"),
    ("wikipedia_lplm=1,books_lplm=0", "must be above 0; it is '0'"),
    ("wikipedia_lplm=1,books_lplm", "must be above 0; it is ''"),
    ("wikipedia_lplm=1,books_lplm=inf", "must be above 0; it is 'inf'"),
  ],
)
def test_wrong_rates_are_told(rates, said):
  with pytest.raises(UserError, match=said):
    parse_rates(rates, ["wikipedia_lplm", "books_lplm"])
