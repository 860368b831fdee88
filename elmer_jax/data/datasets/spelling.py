# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Sentences of docstrings with slips of the pen → as they were: spelling correction.

A task at which one pass is good, since most tokens stand in the source; and one whose
examples differ in how hard they are: a sentence without a slip is a copy, while every
slip changes the number of tokens and moves all that follow. So it tells what an exit
that decides text by text can save.
"""

import hashlib
import random
import re
from collections.abc import Iterator

from elmer_jax.data.datasets import pydocs

CHARACTERS = (30, 150)  # of a text: both sides fit into 64 tokens, with few exceptions
WORST = 0.4  # the share of words with a slip is drawn from 0 to this for each text
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_PROSE = re.compile(r"[A-Z][\w ,.;:()'\"`/-]*[.!?]")
_LETTERS = "etaoinsrhldcumfpgwybvkxjqz"


def pairs(split: str, roots: pydocs.Roots | None = None) -> Iterator[tuple[str, str]]:
  """Yields (text with slips, text), each text once in a split.

  A text is as many sentences of a paragraph as CHARACTERS allow. The slips follow from
  the text alone.
  """
  seen = set()
  for docstring in pydocs.docstrings(split, roots):
    for paragraph in docstring.text.split("\n\n"):
      for text in _joined(_SENTENCE_END.split(" ".join(paragraph.split()))):
        if len(text) >= CHARACTERS[0] and text not in seen:
          seen.add(text)
          yield misspell(text), text


def _joined(sentences: list[str]) -> Iterator[str]:
  """Yields neighbours joined up to the greatest length; leaves out what is no prose."""
  text = ""
  for sentence in sentences:
    is_prose = _PROSE.fullmatch(sentence) and len(sentence) <= CHARACTERS[1]
    if is_prose and len(text) + 1 + len(sentence) <= CHARACTERS[1]:
      text = f"{text} {sentence}".strip()
      continue
    yield text
    text = sentence if is_prose else ""
  yield text


def misspell(text: str) -> str:
  """Returns the text with slips in some of its words of three letters and more."""
  digest = hashlib.sha256(text.encode()).digest()
  rng = random.Random(int.from_bytes(digest[:8], "big"))
  share = rng.uniform(0, WORST)

  def slip(match: re.Match) -> str:
    word = match[0]
    if rng.random() >= share:
      return word
    place = rng.randrange(len(word) - 1)
    before, pair, after = word[:place], word[place : place + 2], word[place + 2 :]
    kinds = (pair[::-1], pair[0], pair[0] + pair, rng.choice(_LETTERS) + pair[1])
    return before + rng.choice(kinds) + after

  return re.sub(r"[A-Za-z]{3,}", slip, text)
