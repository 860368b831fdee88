# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Rates and the time left are those of the work that is done now."""

import logging
import re

import pytest

from elmer_jax.data.cache import prepare_progress
from elmer_jax.data.cache.prepare_progress import Progress

NOTE = {"characters": 4_000_000, "tokens": {"target": 1_000_000}}
MANIFEST = {"examples": 10_000, "documents": 5, "cut": {"target": 0}}
MANIFEST |= {"tokens": {"target": 4_000_000}, "length": {"target": 500}}


@pytest.fixture
def clock(monkeypatch):
  """Seconds and CPU-seconds, to be put on."""
  now = {"seconds": 100.0, "cpu": 1000.0}
  monkeypatch.setattr(prepare_progress.time, "monotonic", lambda: now["seconds"])
  monkeypatch.setattr(prepare_progress, "_cpu_seconds", lambda: now["cpu"])
  return now


@pytest.fixture
def said(monkeypatch):
  lines = []
  monkeypatch.setattr(
    prepare_progress.logging, "info", lambda text, *values: lines.append(text % values)
  )
  return lines


def test_what_an_earlier_start_made_counts_as_done_but_in_no_rate(clock, said):
  whole = Progress()
  whole.begin("tiny/train", 16_000_000)
  whole.add(NOTE, made=False)
  whole.add(NOTE, made=False)
  clock["seconds"] += 10
  clock["cpu"] += 20
  whole.add(NOTE, made=True)
  # A quarter is left, and one quarter took ten seconds.
  assert said == ["tiny/train: 3.0 M tokens, 0.10 M tokens/s, about 10 s left"]
  whole.add(NOTE, made=True)
  clock["seconds"] += 10
  whole.end(MANIFEST)
  assert "4.00 M tokens in 20.0 s (0.10 M tokens/s), 2.00 M of them earlier" in said[1]
  assert "20.0 % padding" in said[1]
  whole.total()
  assert "0.10 M tokens/s, 0.10 M tokens per CPU-second), 20.0 % padding" in said[2]
  assert re.search(r"0\.\d\d GB of memory|[1-9]\d*\.\d\d GB of memory", said[2])


def test_nothing_made_is_nothing_said_in_total(clock, said):
  whole = Progress()
  whole.begin("tiny/train", None)
  whole.add(NOTE, made=False)
  whole.total()
  assert said == []


def test_texts_that_were_cut_are_told(clock, caplog):
  whole = Progress()
  whole.begin("tiny/train", None)
  with caplog.at_level(logging.WARNING):
    clock["seconds"] += 1
    whole.end(MANIFEST | {"cut": {"target": 7}})
  assert "7 of 10000 texts of feature target are longer than 500 ids" in caplog.text
