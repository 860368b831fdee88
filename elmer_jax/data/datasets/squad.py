# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Question generation on SQuAD 1.1: from an answer and its context to the question.

A source is the answer, " [SEP] " (`spec.SEPARATOR`) and the context; so a cut takes
the context's end away, not the answer. Of several answers the first counts.

The splits are those of Du et al. (2017), on which question generation is measured: 44
articles of SQuAD's training set are the test set, the others are for training, and
SQuAD's development set is for validation: 75,722, 10,570 and 11,877 questions.

Read from TFDS `squad`, or from JSONL files: an object a question with the fields
`context`, `question`, `answers` (a list of texts), `title` and, if it is there,
`du_split` ("train" or "test"); without it the title decides. A file with "dev" or
"valid" in its name is the development set.
"""

import pathlib
import unicodedata
from collections.abc import Iterator

from elmer_jax.data.datasets import tfds_sets
from elmer_jax.data.datasets.dataset import SEPARATOR, DatasetSpec
from elmer_jax.data.readers import documents_and_pairs
from elmer_jax.data.readers.json_objects import Entry, read_objects

NAME = "squad_question_generation"
SQUAD = tfds_sets.Prepared(
  "squad",
  configs=r"v1\.1",
  build="v1.1",
  files=f"name files: --config.data.files='{NAME}=FILES' (in seqio tasks.use_files)",
)

# The articles of the training set that Du et al. test on.
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
  """Returns the spec `squad_question_generation`."""

  def read(split: str) -> Iterator[tuple[str, str]]:
    examples = SQUAD.examples("validation" if split == "validation" else "train")
    return (
      _pair_of_example(example)
      for example in examples
      if split in ("validation", split_of(example["title"].decode()))
    )

  return DatasetSpec(NAME, "pairs", read, from_files=from_files)


def from_files(files: str) -> DatasetSpec:
  """Returns the spec that reads JSONL files, see the top of this file.

  Raises:
    UserError: a file is missing, empty or not text.
  """
  paths = documents_and_pairs.expand_files(files)
  held_out = [path for path in paths if _is_held_out(path)]
  others = [path for path in paths if path not in held_out]

  def read(split: str) -> Iterator[tuple[str, str]]:
    for entry in read_objects(held_out if split == "validation" else others):
      if split in ("validation", _split_of_entry(entry)):
        yield _pair_of_entry(entry)

  splits = ("train",) * bool(others) + ("validation",) * bool(held_out)
  return DatasetSpec(NAME, "pairs", read, splits + ("test",) * bool(others))


def pair(answer: str, context: str, question: str) -> tuple[str, str]:
  """Returns source and target."""
  return answer.strip() + SEPARATOR + context.strip(), question.strip()


def split_of(title: str) -> str:
  """Returns "train" or "test" for an article of SQuAD's training set."""
  return "test" if unicodedata.normalize("NFC", title) in TEST_TITLES else "train"


def _pair_of_example(example: tfds_sets.Example) -> tuple[str, str]:
  texts = (example["answers"]["text"][0], example["context"], example["question"])
  return pair(*(text.decode() for text in texts))


def _is_held_out(path: pathlib.Path) -> bool:
  return any(word in path.name.lower() for word in ("dev", "valid"))


def _split_of_entry(entry: Entry) -> str:
  if entry.fields.get("du_split") is None:
    return split_of(entry.get("title", str))
  if entry.fields["du_split"] not in ("train", "test"):
    raise entry.error(f"du_split is {entry.fields['du_split']!r}, not train or test")
  return entry.fields["du_split"]


def _pair_of_entry(entry: Entry) -> tuple[str, str]:
  answers = entry.get("answers", list)
  if not answers or not isinstance(answers[0], str):
    raise entry.error("answers is no list of texts")
  source, target = pair(
    answers[0], entry.get("context", str), entry.get("question", str)
  )
  if not target:
    raise entry.error("the question is empty")
  return source, target
