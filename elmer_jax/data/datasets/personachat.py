# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""PersonaChat: from a persona and the previous turns to the next response.

There is a pair for each response. A source is the sentences of the persona, joined by
spaces, and the previous turns, oldest first, separated by " [SEP] ":

    i'm a nurse. i surf often. [SEP] hi ! [SEP] hello , how are you ?

The empty turn `__SILENCE__`, with which half of the dialogues begin, is skipped.

Read from files only: JSON lists or JSONL with the fields `persona` (a list of
sentences) and `dialogue` (a list of [utterance, response]). The name of a file
determines its split: it contains "train", "valid" (or "dev") or "test".
"""

import pathlib
from collections.abc import Iterator

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets.dataset import SEPARATOR, DatasetSpec, files_flag
from elmer_jax.data.readers.file_entries import FileEntry, read_json
from elmer_jax.data.readers.text_files import expand_files

NAME = "personachat"
SILENCE = "__SILENCE__"
_SPLITS = {"train": "train", "valid": "validation", "dev": "validation", "test": "test"}


def personachat() -> DatasetSpec:
  """Returns the data set `personachat`."""

  def no_files(split: str):
    raise UserError(
      f"{NAME} is read from files only: {files_flag(NAME)}, with train, valid or test "
      "in their names"
    )

  return DatasetSpec(NAME, "pairs", no_files, from_files=from_files)


def from_files(files: str) -> DatasetSpec:
  """Returns the data set read from files, with the splits that they contain.

  Raises:
    UserError: a file is missing, empty or not text, or its name contains no split.
  """
  paths: dict[str, list[pathlib.Path]] = {}
  for path in expand_files(files):
    paths.setdefault(_split_of(path), []).append(path)

  def read(split: str) -> Iterator[tuple[str, str]]:
    for entry in read_json(paths[split]):
      yield from _pairs(entry)

  splits = tuple(split for split in dict.fromkeys(_SPLITS.values()) if split in paths)
  return DatasetSpec(NAME, "pairs", read, splits)


def _split_of(path: pathlib.Path) -> str:
  for word, split in _SPLITS.items():
    if word in path.name.lower():
      return split
  raise UserError(f"{path}: the name has to contain the split: train, valid or test")


def _pairs(entry: FileEntry) -> Iterator[tuple[str, str]]:
  persona, dialogue = entry.get("persona", list), entry.get("dialogue", list)
  parts = [" ".join(_texts(entry, "persona", persona))] if persona else []
  for turn in dialogue:
    if not isinstance(turn, list) or len(turn) != 2:
      raise entry.error("dialogue is not a list of [utterance, response]")
    utterance, response = _texts(entry, "dialogue", turn)
    if utterance and utterance != SILENCE:
      parts.append(utterance)
    if response and response != SILENCE:
      yield SEPARATOR.join(parts), response
      parts.append(response)


def _texts(entry: FileEntry, name: str, values: list) -> list[str]:
  if not all(isinstance(value, str) for value in values):
    raise entry.error(f"field {name!r} contains values that are not texts")
  return [value.strip() for value in values]
