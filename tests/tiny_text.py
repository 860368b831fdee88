# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A made-up corpus and a vocabulary learned from it, for the tests of the data."""

import functools
import tempfile

import numpy as np

from elmer_jax.tokenizer.bpe import Vocabulary

_WORDS = (
  "the a small large reader writer returns takes gives holds list number text window "
  "token sentence quickly slowly often never with without into from over under and"
)


def documents(count: int, seed: int = 0, sentences: int = 12) -> list[str]:
  """Returns `count` different texts of up to `sentences` sentences, some on lines."""
  rng = np.random.default_rng(seed)
  texts = []
  for number in range(count):
    text = f"Document {number} of {seed}."
    for _ in range(rng.integers(0, sentences)):
      words = rng.choice(_WORDS.split(), rng.integers(2, 18))
      text += rng.choice([" ", " ", "\n", "\n\n"]) + " ".join(words).capitalize() + "."
    texts.append(text)
  return texts


@functools.cache
def vocabulary() -> Vocabulary:
  with tempfile.TemporaryDirectory() as directory:
    return Vocabulary.train(documents(50), 330, directory)
