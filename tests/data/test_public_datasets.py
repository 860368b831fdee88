# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Public data sets have the right texts and splits, from files and from TFDS."""

import json

import numpy as np
import pytest
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds
import tiny
import tiny_text
import tiny_tfds

from elmer_jax.core.errors import UserError
from elmer_jax.data import loader, preparation, prepared_data, tasks
from elmer_jax.data.datasets import dataset_files, registry, squad
from elmer_jax.tokenizer.special_ids import PAD_ID

LENGTHS = {"inputs": 32, "targets": 28}
TEXT = tfds.features.Text()


@pytest.fixture(autouse=True)
def tfds_folder(monkeypatch, tmp_path):
  monkeypatch.setattr(dataset_files, "_files_by_task", {})
  monkeypatch.delenv(dataset_files.FILES_VARIABLE, raising=False)
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
  return tmp_path / "tfds"


@pytest.fixture(scope="module", autouse=True)
def vocabulary(tmp_path_factory):
  folder = tmp_path_factory.mktemp("vocabulary")
  tiny_text.vocabulary().save(folder)
  tasks.use_vocabulary(folder)
  return folder


def read(name: str) -> dict[str, list]:
  [(spec, _)] = tasks.dataset_specs_of(name)
  return {split: list(spec.read(split)) for split in spec.splits}


def write_lines(path, rows):
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_wikipedia_is_the_newest_english_configuration_in_order(tfds_folder):
  texts = {
    name: tiny_text.documents(120, seed=seed)
    for seed, name in enumerate(("20220620.en/1.0.0", "20230601.en/1.0.0"))
  }
  texts["20240101.de/1.0.0"] = ["Deutsch."] * 4
  for name, split in texts.items():
    rows = [{"title": "t", "text": text} for text in split]
    features = {"title": TEXT, "text": TEXT}
    tiny_tfds.write(tfds_folder, f"wikipedia/{name}", features, {"train": rows})
  found = read("wikipedia_lplm")
  assert found == read("wikipedia_lplm")  # always in the same order
  expected = texts["20230601.en/1.0.0"]
  assert sorted(found["train"] + found["validation"]) == sorted(expected)
  assert found["train"] == [text for text in expected if text in found["train"]]
  assert found["validation"]
  [(spec, _)] = tasks.dataset_specs_of("wikipedia_lplm")
  assert spec.size("train") > 0.9 * sum(map(len, found["train"]))


@pytest.mark.parametrize(
  ("task", "names"),
  [("xsum", ("document", "summary")), ("cnn_dailymail", ("article", "highlights"))],
)
def test_summaries_come_from_tfds(tfds_folder, task, names):
  rows = {
    split: [
      dict(zip(names, (f" {split} text {n}.\nMore.", f"Sum {n} .\nTwo"), strict=True))
      for n in range(5)
    ]
    for split in ("train", "validation", "test")
  }
  rows["test"][2][names[0]] = ""  # as in a few articles of XSum
  features = dict.fromkeys(names, TEXT)
  tiny_tfds.write(tfds_folder, f"{task}/1.9.0", features, {"train": rows["train"][:1]})
  tiny_tfds.write(tfds_folder, f"{task}/1.10.0", features, rows)
  found = read(task)
  assert found["validation"][3] == ("validation text 3.\nMore.", "Sum 3 .\nTwo")
  assert len(found["train"]) == 5 and len(found["test"]) == 4
  dataset = seqio.get_mixture_or_task(task).get_dataset(LENGTHS, "test", shuffle=False)
  texts = [e["inputs_pretokenized"].decode() for e in dataset.as_numpy_iterator()]
  assert texts == [source for source, _ in found["test"]]


def questions(split: str) -> list[dict]:
  """Questions on two articles; the second is in the test set of Du et al."""
  titles = {"train": ("Plague", "Beyonc\u00e9"), "validation": ("Oil", "Gas")}[split]
  return [
    {
      "title": titles[n % 2],
      "context": f"The {n} is\nhere. ",
      "question": f" What is {n}?",
      "answers": [f"the {n}", "here"],
    }
    for n in range(8)
  ]


def test_squad_is_the_same_from_files_and_from_tfds(tfds_folder, tmp_path):
  answers = tfds.features.Sequence({"text": TEXT, "answer_start": tf.int32})
  features = {"title": TEXT, "context": TEXT, "question": TEXT, "answers": answers}
  rows = {
    split: [
      row | {"answers": {"text": row["answers"], "answer_start": [0, 1]}}
      for row in questions(split)
    ]
    for split in ("train", "validation")
  }
  tiny_tfds.write(tfds_folder, "squad/v1.1/3.0.0", features, rows)
  tiny_tfds.write(tfds_folder, "squad/v2.0/3.0.0", features, {"train": rows["train"]})
  found = read(squad.NAME)
  assert {split: len(pairs) for split, pairs in found.items()} == {
    "train": 4,
    "validation": 8,
    "test": 4,
  }
  assert found["test"][0] == ("the 1 [SEP] The 1 is\nhere.", "What is 1?")

  write_lines(tmp_path / "dev.jsonl", questions("validation"))
  marked = [  # the field takes precedence over the title
    row | ({"du_split": "test", "title": "?"} if row["title"][0] == "B" else {})
    for row in questions("train")
  ]
  for rows in (questions("train"), marked):
    write_lines(tmp_path / "train.jsonl", rows)
    tasks.use_files(squad.NAME, str(tmp_path / "*.jsonl"))
    assert read(squad.NAME) == found
  tasks.use_files(squad.NAME, str(tmp_path / "dev.jsonl"))
  assert list(read(squad.NAME)) == ["validation"]


def test_squad_has_44_test_articles_in_any_unicode_normal_form():
  assert len(squad.TEST_TITLES) == 44
  assert squad.split_of("Beyonce\u0301") == squad.split_of("Dog") == "test"
  assert squad.split_of("dog") == "train"


DIALOGUES = [
  {
    "persona": ["i surf.", "i bake ."],
    "dialogue": [["__SILENCE__", "hi !"], ["hello .", "how are you ?"]],
  },
  {"persona": ["i am old."], "dialogue": [["hey", "ho"]]},
]


def test_personachat_has_a_pair_for_each_response(tmp_path):
  (tmp_path / "valid.json").write_text(json.dumps(DIALOGUES))
  write_lines(tmp_path / "test_both.jsonl", DIALOGUES[1:])
  tasks.use_files("personachat", str(tmp_path / "*.json*"))
  assert read("personachat") == {
    "validation": [
      ("i surf. i bake .", "hi !"),
      ("i surf. i bake . [SEP] hi ! [SEP] hello .", "how are you ?"),
      ("i am old. [SEP] hey", "ho"),
    ],
    "test": [("i am old. [SEP] hey", "ho")],
  }


@pytest.mark.parametrize(
  ("task", "name", "content", "message"),
  [
    ("personachat", "all.json", "[]", "all.json: the name has to contain the split"),
    ("personachat", "test.json", "[{", "test.json: not JSON"),
    ("personachat", "test.json", "[3]", "test.json, entry 1: not a JSON object"),
    ("personachat", "test.json", '[{"persona": []}]', "no field 'dialogue'"),
    (
      "personachat",
      "test.json",
      '[{"persona": [], "dialogue": [["a"]]}]',
      r"not a list of \[utterance, response\]",
    ),
    (squad.NAME, "train.jsonl", '{"title": "a"}', "train.jsonl, line 1: no field"),
    (squad.NAME, "a.jsonl", '{"title": "a", "answers": []}', "not a list of texts"),
    (squad.NAME, "a.jsonl", '{"du_split": "dev"}', "du_split is 'dev'"),
  ],
)
def test_malformed_files_raise(task, name, content, message, tmp_path):
  (tmp_path / name).write_text(content)
  with pytest.raises(UserError, match=message):
    tasks.use_files(task, str(tmp_path / name))
    read(task)


def test_undecodable_bytes_in_lists_are_replaced(tmp_path):
  text = json.dumps([DIALOGUES[1]]).encode().replace(b"ho", b"h\xff")
  (tmp_path / "test.json").write_bytes(text)
  tasks.use_files("personachat", str(tmp_path / "test.json"))
  assert read("personachat")["test"] == [("i am old. [SEP] hey", "h\ufffd")]


@pytest.fixture
def mixture(tmp_path, vocabulary):
  """A configuration for 90 documents of Wikipedia and 30 books."""
  for name, count in (("w", 90), ("b", 30)):
    rows = [{"text": text} for text in tiny_text.documents(count, seed=count)]
    write_lines(tmp_path / f"{name}.jsonl", rows)
  return tiny.configure(
    data__task="books_wiki_lplm",
    data__files=f"wikipedia_lplm={tmp_path}/w.jsonl,books_lplm={tmp_path}/b.jsonl",
    data__vocabulary=str(vocabulary),
  )


def test_documents_are_mixed_in_proportion_to_their_tokens(mixture, tmp_path):
  vocabulary = preparation.prepare(mixture, str(tmp_path / "run"))
  caches = prepared_data.open_caches(
    mixture, str(tmp_path / "run"), vocabulary, "train"
  )
  [wikipedia, books] = sorted((cache for cache, _ in caches), key=len, reverse=True)
  [wikipedia, books] = (
    [tuple(cache[i]["target"].tolist()) for i in range(len(cache))]
    for cache in (wikipedia, books)
  )
  batches = loader.open_batches(mixture, str(tmp_path / "run"), vocabulary, "train")
  steps = 2 * (len(wikipedia) + len(books)) // mixture.data.batch_size
  rows = np.concatenate([batches[t]["target_ids"] for t in range(steps)])
  drawn = [tuple(row[row != PAD_ID][:-1].tolist()) for row in rows]

  def share_of_books(windows):  # in tokens; a few short windows are in both
    return sum(len(w) for w in windows if w in known) / sum(map(len, windows))

  known = set(books) - set(wikipedia)
  assert share_of_books(drawn) == pytest.approx(
    share_of_books(wikipedia + books), abs=0.01
  )


def test_rates_can_be_set_and_changed_later(mixture, tmp_path):
  def rates() -> dict[str, float]:
    parts = prepared_data.read_parts(mixture, str(tmp_path / "run"))
    return {part.task: part.rate for part in parts}

  mixture.data.rates = "wikipedia_lplm=1,books_lplm=3"
  preparation.prepare(mixture, str(tmp_path / "run"))
  assert rates() == {"wikipedia_lplm": 1, "books_lplm": 3}
  mixture.data.rates = "books_lplm=1"
  with pytest.raises(UserError, match="no rate for wikipedia_lplm"):
    rates()
  mixture.data.rates = ""
  assert 2 < rates()["wikipedia_lplm"] / rates()["books_lplm"] < 4


def test_seqio_mixes_in_about_the_same_proportion(mixture):
  with dataset_files.use_configured_files(mixture):
    provider = seqio.get_mixture_or_task("books_wiki_lplm")
    rates = {task.name: provider.get_rate(task) for task in provider.tasks}
    dataset = provider.get_dataset(LENGTHS, "train", num_epochs=1, seed=0)
    examples = list(dataset.take(20).as_numpy_iterator())
  assert rates.keys() == set(registry.MIXTURES["books_wiki_lplm"])
  assert 2 < rates["wikipedia_lplm"] / rates["books_lplm"] < 4
  assert len(examples) == 20 and set(examples[0]) == {"inputs", "targets"}


def test_missing_data_raises_before_the_run_folder_is_created(mixture, tmp_path):
  mixture.data.files = mixture.data.files.rpartition(",")[2]  # the books
  with pytest.raises(UserError, match="tfds build wikipedia"):
    preparation.prepare(mixture, str(tmp_path / "run"))
  assert not (tmp_path / "run").exists()
