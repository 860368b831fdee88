# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Windows are the whole document, fit, are nearly full, and end at boundaries."""

import itertools

import numpy as np
import pytest
import tiny_text

from elmer_jax.data.cache import windows as w


@pytest.fixture(scope="module")
def vocabulary():
  return tiny_text.vocabulary()


@pytest.fixture(scope="module")
def boundaries(vocabulary):
  return w.Boundaries.from_vocabulary(vocabulary)


@pytest.fixture(scope="module")
def texts(vocabulary):
  return [vocabulary.encode(text) for text in tiny_text.documents(80, sentences=60)]


@pytest.mark.parametrize("length", [1, 2, 7, 30, 126, 10_000])
def test_concatenated_windows_are_the_document(texts, boundaries, length):
  for ids in texts:
    parts = w.split_into_windows(ids, boundaries, length)
    np.testing.assert_array_equal(np.concatenate(parts), ids)
    assert all(1 <= len(part) <= length for part in parts)
    assert len(parts[-1]) >= min(w.MIN_LAST_WINDOW, length, len(ids))


def test_a_short_document_is_one_window(boundaries):
  assert w.split_into_windows(np.array([], np.int32), boundaries, 8) == []
  (window,) = w.split_into_windows(np.array([5, 6], np.int32), boundaries, 8)
  assert window.tolist() == [5, 6]


def test_windows_are_nearly_full(texts, boundaries):
  long = [ids for ids in texts if len(ids) > 600]
  parts = [
    part for ids in long for part in w.split_into_windows(ids, boundaries, 62)[:-1]
  ]
  assert len(parts) > 300
  assert sum(map(len, parts)) / (62 * len(parts)) > w.MIN_FILL


def test_windows_end_between_words(texts, boundaries, vocabulary):
  for ids in texts:
    for part, following in itertools.pairwise(
      w.split_into_windows(ids, boundaries, 62)
    ):
      begins_word = vocabulary.decode(following[:1]).startswith(" ")
      assert begins_word or vocabulary.decode(part[-1:]).endswith("\n")


def test_windows_end_with_a_sentence_if_nearly_full(vocabulary, boundaries):
  sentence = vocabulary.encode(" the reader takes a number.")
  ids = np.tile(sentence, 40)
  for part in w.split_into_windows(ids, boundaries, 20 * len(sentence) + 3):
    assert len(part) == 20 * len(sentence)


def test_line_breaks_belong_to_the_sentence_before(vocabulary, boundaries):
  text = "the reader takes a number.\n\n" * 40
  ids = vocabulary.encode(text.strip())
  length = len(vocabulary.encode("the reader takes a number.\n\n" * 20)) + 2
  first, second = w.split_into_windows(ids, boundaries, length)
  assert vocabulary.decode(first).endswith(".\n\n")
  assert vocabulary.decode(second).startswith("the reader")


def test_a_full_stop_inside_a_word_is_not_a_sentence_end(vocabulary, boundaries):
  ids = vocabulary.encode(" 3.14159" + " 2.71828" * 9)
  stop = boundaries.full_stops[ids]
  assert stop.sum() == 10
  for part in w.split_into_windows(ids, boundaries, 20)[:-1]:
    assert not boundaries.full_stops[part[-1]]


def test_a_word_longer_than_a_window_is_split_anywhere(vocabulary, boundaries):
  ids = vocabulary.encode("x" * 300)
  parts = w.split_into_windows(ids, boundaries, 16)
  assert all(len(part) == 16 for part in parts[:-2])
