# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Replaces characters that are not UTF-8, and counts what was replaced or skipped."""

import dataclasses
import functools
import pathlib

from absl import logging

from elmer_jax.core.wording import count_of
from elmer_jax.data.readers.text_files import LONE_SURROGATE


@dataclasses.dataclass
class ReplacementCounter:
  """Counts replaced characters and skipped documents of a set of files.

  Attributes:
    characters: number of characters replaced by U+FFFD.
    texts: number of texts with such characters.
    files: the files of these texts, in order.
    empty_documents: number of documents that were skipped because they are empty.
  """

  characters: int = 0
  texts: int = 0
  files: dict[pathlib.Path, None] = dataclasses.field(default_factory=dict)
  empty_documents: int = 0

  def clean(self, text: str, path: pathlib.Path) -> str:
    """Replaces lone surrogates: bytes that are not UTF-8, or lone escapes in JSON."""
    try:
      text.encode()  # several times faster than a search
    except UnicodeEncodeError:
      text, count = LONE_SURROGATE.subn("\ufffd", text)
      self.characters += count
      self.texts += 1
      self.files[path] = None
    return text

  def log_warnings(self) -> None:
    """Logs the counts, once a process: files are read again for each split."""
    if self.characters:
      where = f"{count_of(self.texts, 'text')} of {count_of(len(self.files), 'file')}"
      _warn_once(
        f"not UTF-8 and replaced by U+FFFD: {count_of(self.characters, 'byte')} in "
        f"{where}, first {next(iter(self.files))}; data.encoding=latin-1 or another "
        "name is for files in that encoding"
      )
    if self.empty_documents:
      _warn_once(f"empty and skipped: {count_of(self.empty_documents, 'document')}")


@functools.cache
def _warn_once(message: str) -> None:
  logging.warning("%s", message)
