# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Question generation on SQuAD 1.1: from an answer and its context to the question.

A source is the answer, " [SEP] " and the context, in this order because a long source
loses its end. The first of several answers is used.

The splits are those of Du et al. (2017), the usual ones for question generation: 44
articles of SQuAD's training set are the test set, its other articles the training set,
and SQuAD's development set is the validation set: 75,722 training, 10,570 validation
and 11,877 test questions.

Read from TFDS `squad`, or from JSONL files with one question a line and the fields
`context`, `question`, `answers` (a list of texts), `title` and optionally `du_split`
("train" or "test"), which takes precedence over the title. A file with "dev" or "valid"
in its name is the development set.
"""

import pathlib
import unicodedata
from collections.abc import Iterator

from elmer_jax.data.datasets.dataset import SEPARATOR, DatasetSpec
from elmer_jax.data.datasets.tfds_datasets import Example, TfdsDataset
from elmer_jax.data.readers.file_entries import FileEntry, read_json
from elmer_jax.data.readers.text_files import expand_files

NAME = "squad_question_generation"
SQUAD = TfdsDataset("squad", configs=r"v1\.1", build="v1.1", task=NAME)

# The articles of SQuAD's training set in Du et al.'s test set.
_TITLES = """
2008_Sichuan_earthquake 2008_Summer_Olympics_torch_relay Alfred_North_Whitehead
American_Idol Anthropology Antibiotics Architecture Arnold_Schwarzenegger
BBC_Television Beyoncé Buddhism Canadian_Armed_Forces Cardinal_(Catholicism)
Comprehensive_school Dog Dutch_Republic Financial_crisis_of_2007–08 Frédéric_Chopin
Genocide Genome Human_Development_Index IPod Institute_of_technology Iranian_languages
Kanye_West Lighting Montana New_York_City Plymouth Portugal Prime_minister
Republic_of_the_Congo Saint_Barthélemy
Separation_of_powers_under_the_United_States_Constitution
Sino-Tibetan_relations_during_the_Ming_dynasty Solar_energy Southern_Europe
Spectre_(2015_film) Symbiosis Tajikistan The_Legend_of_Zelda:_Twilight_Princess
To_Kill_a_Mockingbird University_of_Notre_Dame Wayback_Machine
"""
TEST_TITLES = frozenset(_TITLES.split())


def question_generation() -> DatasetSpec:
  """Returns the data set `squad_question_generation`."""

  def read(split: str) -> Iterator[tuple[str, str]]:
    examples = SQUAD.examples("validation" if split == "validation" else "train")
    return (
      _pair_from_example(example)
      for example in examples
      if split in ("validation", split_of(example["title"].decode()))
    )

  return DatasetSpec(NAME, "pairs", read, from_files=from_files)


def from_files(files: str) -> DatasetSpec:
  """Returns the data set read from JSONL files, with the splits that they contain.

  Raises:
    UserError: a file is missing, empty or not text.
  """
  paths = expand_files(files)
  dev = [path for path in paths if _is_dev(path)]
  others = [path for path in paths if path not in dev]
  by_split = {"train": others, "validation": dev, "test": others}

  def read(split: str) -> Iterator[tuple[str, str]]:
    for entry in read_json(by_split[split]):
      if split in ("validation", _split_of_entry(entry)):
        yield _pair_from_entry(entry)

  splits = tuple(split for split in by_split if by_split[split])
  return DatasetSpec(NAME, "pairs", read, splits)


def pair(answer: str, context: str, question: str) -> tuple[str, str]:
  """Returns (source, target)."""
  return answer.strip() + SEPARATOR + context.strip(), question.strip()


def split_of(title: str) -> str:
  """Returns the split, "train" or "test", of an article of SQuAD's training set."""
  return "test" if unicodedata.normalize("NFC", title) in TEST_TITLES else "train"


def _pair_from_example(example: Example) -> tuple[str, str]:
  texts = (example["answers"]["text"][0], example["context"], example["question"])
  return pair(*(text.decode() for text in texts))


def _is_dev(path: pathlib.Path) -> bool:
  return any(word in path.name.lower() for word in ("dev", "valid"))


def _split_of_entry(entry: FileEntry) -> str:
  split = entry.fields.get("du_split")
  if split is None:
    return split_of(entry.get("title", str))
  if split not in ("train", "test"):
    raise entry.error(f"du_split is {split!r}, not train or test")
  return split


def _pair_from_entry(entry: FileEntry) -> tuple[str, str]:
  answers = entry.get("answers", list)
  if not answers or not isinstance(answers[0], str):
    raise entry.error("answers is not a list of texts")
  context, question = entry.get("context", str), entry.get("question", str)
  if not question.strip():
    raise entry.error("the question is empty")
  return pair(answers[0], context, question)
