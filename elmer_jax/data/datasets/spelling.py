# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Spelling correction: sentences of docstrings with typos, and the original sentences.

A suitable task for a single decoding pass, since most target tokens occur in the
source, and for early exits decided by text, since the difficulty varies: a sentence
without typos is a copy, while every typo changes the number of tokens and shifts all
that follow.
"""

import hashlib
import random
import re
from collections.abc import Iterator

from elmer_jax.data.datasets import pydocs

# Of a target: with few exceptions both sides then fit into 64 tokens.
MIN_CHARACTERS, MAX_CHARACTERS = 30, 150
# The share of words with a typo is drawn from 0 to this for each text.
MAX_TYPO_SHARE = 0.4

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_PROSE = re.compile(r"[A-Z][\w ,.;:()'\"`/-]*[.!?]")
_LETTERS = "etaoinsrhldcumfpgwybvkxjqz"


def pairs(split: str, roots: pydocs.Roots | None = None) -> Iterator[tuple[str, str]]:
  """Yields (text with typos, text), without repetition within a split.

  A text is one or more consecutive sentences of a paragraph, as many as fit into
  MAX_CHARACTERS. Its typos depend on the text alone.

  Args:
    split: one of `pydocs.SPLITS`.
    roots: folders of packages; by default those of this interpreter.
  """
  seen = set()
  for docstring in pydocs.docstrings(split, roots):
    for paragraph in docstring.text.split("\n\n"):
      for text in _join(_SENTENCE_END.split(" ".join(paragraph.split()))):
        if len(text) >= MIN_CHARACTERS and text not in seen:
          seen.add(text)
          yield add_typos(text), text


def _join(sentences: list[str]) -> Iterator[str]:
  """Joins consecutive sentences up to MAX_CHARACTERS; skips what is not prose."""
  text = ""
  for sentence in sentences:
    is_prose = _PROSE.fullmatch(sentence) and len(sentence) <= MAX_CHARACTERS
    if is_prose and len(text) + 1 + len(sentence) <= MAX_CHARACTERS:
      text = f"{text} {sentence}".strip()
      continue
    yield text
    text = sentence if is_prose else ""
  yield text


def add_typos(text: str) -> str:
  """Returns a text with typos in some of its words of three and more letters.

  A typo swaps two neighboring letters, drops one, doubles one or replaces one.
  """
  digest = hashlib.sha256(text.encode()).digest()
  rng = random.Random(int.from_bytes(digest[:8], "big"))
  share = rng.uniform(0, MAX_TYPO_SHARE)

  def typo(match: re.Match) -> str:
    word = match[0]
    if rng.random() >= share:
      return word
    i = rng.randrange(len(word) - 1)
    before, letters, after = word[:i], word[i : i + 2], word[i + 2 :]
    replacements = (
      letters[::-1],
      letters[0],
      letters[0] + letters,
      rng.choice(_LETTERS) + letters[1],
    )
    return before + rng.choice(replacements) + after

  return re.sub(r"[A-Za-z]{3,}", typo, text)
