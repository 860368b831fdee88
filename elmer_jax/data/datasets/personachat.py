# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""PersonaChat: from a persona and what was said so far to the next response.

A pair for each response. A source is the sentences of the persona, joined by spaces,
and the turns before the response, oldest first, each behind " [SEP] "
(`spec.SEPARATOR`):

    i'm a nurse. i surf often. [SEP] hi ! [SEP] hello , how are you ?

The turn `__SILENCE__`, with which half of the dialogues begin, is empty: left out.

Read from files alone, JSON lists or JSONL with the fields `persona` (a list of
sentences) and `dialogue` (a list of [utterance, response]). A file's name tells its
split: it has "train", "valid" (or "dev") or "test" in it.
"""

import pathlib
from collections.abc import Iterator

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets.dataset import SEPARATOR, DatasetSpec
from elmer_jax.data.readers import documents_and_pairs
from elmer_jax.data.readers.json_objects import Entry, read_objects

NAME = "personachat"
SILENCE = "__SILENCE__"
_SPLITS = {"train": "train", "valid": "validation", "dev": "validation", "test": "test"}


def personachat() -> DatasetSpec:
  """Returns the spec `personachat`."""

  def missing(split: str):
    raise UserError(
      f"{NAME} is read from files alone: --config.data.files='{NAME}=FILES' (in seqio "
      "tasks.use_files), with train, valid or test in their names"
    )

  return DatasetSpec(NAME, "pairs", missing, from_files=from_files)


def from_files(files: str) -> DatasetSpec:
  """Returns the spec that reads files, with the splits that they hold.

  Raises:
    UserError: a file is missing, empty or not text, or has no split in its name.
  """
  paths: dict[str, list[pathlib.Path]] = {}
  for path in documents_and_pairs.expand_files(files):
    paths.setdefault(_split_of(path), []).append(path)

  def read(split: str) -> Iterator[tuple[str, str]]:
    for entry in read_objects(paths[split]):
      yield from _pairs(entry)

  splits = tuple(split for split in dict.fromkeys(_SPLITS.values()) if split in paths)
  return DatasetSpec(NAME, "pairs", read, splits)


def _split_of(path: pathlib.Path) -> str:
  for word, split in _SPLITS.items():
    if word in path.name.lower():
      return split
  raise UserError(f"{path}: its name tells no split: it has no train, valid or test")


def _pairs(entry: Entry) -> Iterator[tuple[str, str]]:
  persona, dialogue = entry.get("persona", list), entry.get("dialogue", list)
  parts = [" ".join(_texts(entry, "persona", persona))] if persona else []
  for turn in dialogue:
    if not isinstance(turn, list) or len(turn) != 2:
      raise entry.error("dialogue is no list of [utterance, response]")
    utterance, response = _texts(entry, "dialogue", turn)
    if utterance and utterance != SILENCE:
      parts.append(utterance)
    if response and response != SILENCE:
      yield SEPARATOR.join(parts), response
      parts.append(response)


def _texts(entry: Entry, name: str, values: list) -> list[str]:
  if not all(isinstance(value, str) for value in values):
    raise entry.error(f"field {name!r} holds something else than texts")
  return [value.strip() for value in values]
