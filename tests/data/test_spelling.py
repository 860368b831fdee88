# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Spelling correction: targets are prose as it stands, sources have slips in words."""

import re

from elmer_jax.data.datasets import pydocs, spelling

SENTENCES = [
  f"The number {n} comes before the number {n + 1} in every list." for n in range(60)
]
LONG = "A sentence that goes on and on " + "and on " * 30 + "is left out."


def written(tmp_path) -> list[tuple[str, str]]:
  text = " ".join([*SENTENCES[:2], LONG, *SENTENCES[2:]])
  (tmp_path / "numbers.py").write_text(f'"""{text}\n\n>>> no + prose\n"""\n')
  return [pair for split in pydocs.SPLITS for pair in spelling.pairs(split, [tmp_path])]


def test_targets_are_neighbouring_sentences_as_they_stand(tmp_path):
  pairs = written(tmp_path)
  assert " ".join(target for _, target in pairs) == " ".join(SENTENCES)
  fewest, most = spelling.CHARACTERS
  assert all(fewest <= len(target) <= most for _, target in pairs)
  assert pairs == written(tmp_path)


def test_slips_are_in_some_words_of_three_letters_and_more(tmp_path):
  changed = []
  for source, target in written(tmp_path):
    words = list(zip(source.split(), target.split(), strict=True))
    assert all(a == b for a, b in words if len(re.findall("[A-Za-z]", b)) < 3)
    changed.append(sum(a != b for a, b in words) / len(words))
  assert min(changed) < 0.1 and 0.15 < max(changed) <= 0.6
