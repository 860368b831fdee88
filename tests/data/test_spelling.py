# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Spelling correction: targets are unchanged prose, sources have typos in words."""

import re

from elmer_jax.data.datasets import pydocs, spelling

SENTENCES = [
  f"The number {n} comes before the number {n + 1} in every list." for n in range(60)
]
LONG = "A sentence that goes on and on " + "and on " * 30 + "is left out."


def spelling_pairs(tmp_path) -> list[tuple[str, str]]:
  text = " ".join([*SENTENCES[:2], LONG, *SENTENCES[2:]])
  (tmp_path / "numbers.py").write_text(f'"""{text}\n\n>>> no + prose\n"""\n')
  return [pair for split in pydocs.SPLITS for pair in spelling.pairs(split, [tmp_path])]


def test_targets_are_consecutive_unchanged_sentences(tmp_path):
  pairs = spelling_pairs(tmp_path)
  assert " ".join(target for _, target in pairs) == " ".join(SENTENCES)
  lengths = [len(target) for _, target in pairs]
  assert min(lengths) >= spelling.MIN_CHARACTERS
  assert max(lengths) <= spelling.MAX_CHARACTERS
  assert pairs == spelling_pairs(tmp_path)


def test_typos_are_in_some_words_of_three_and_more_letters(tmp_path):
  typo_shares = []
  for source, target in spelling_pairs(tmp_path):
    words = list(zip(source.split(), target.split(), strict=True))
    assert all(a == b for a, b in words if len(re.findall("[A-Za-z]", b)) < 3)
    typo_shares.append(sum(a != b for a, b in words) / len(words))
  assert min(typo_shares) < 0.1 and 0.15 < max(typo_shares) <= 0.6
