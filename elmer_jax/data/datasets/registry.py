# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The public data sets: what there is, and what scores it.

Each has a module that reads it; `tasks` registers all of them with seqio.
"""

import dataclasses
from collections.abc import Callable

from elmer_jax.data.datasets import (
  personachat,
  squad,
  wikipedia_books,
  xsum_cnn_dailymail,
)
from elmer_jax.data.datasets.dataset import Recipe
from elmer_jax.metrics import text_metrics


@dataclasses.dataclass(frozen=True)
class PublicSet:
  """A data set, and how outputs for it are scored.

  Attributes:
    recipe: reads what TFDS has prepared on this machine; for sets that are in files
      alone, tells so.
    metric_fns: seqio metric functions, those that papers about the set report.
    postprocess_fn: seqio post-processing of outputs and targets.
  """

  recipe: Recipe
  metric_fns: tuple[Callable, ...] = ()
  postprocess_fn: Callable = text_metrics.one_line


_QUESTIONS = (
  text_metrics.bleu,
  text_metrics.meteor,
  text_metrics.rouge,
  text_metrics.distinct,
)
_DIALOGUE = (text_metrics.bleu2, text_metrics.distinct_words, text_metrics.distinct)
_LINES = (text_metrics.rouge_of_lines, text_metrics.distinct)

SETS = {
  public.recipe.name: public
  for public in (
    PublicSet(wikipedia_books.wikipedia()),
    PublicSet(wikipedia_books.books()),
    PublicSet(xsum_cnn_dailymail.xsum(), (text_metrics.rouge, text_metrics.distinct)),
    PublicSet(xsum_cnn_dailymail.cnn_dailymail(), _LINES, text_metrics.lines),
    PublicSet(squad.recipe(), _QUESTIONS),
    PublicSet(personachat.recipe(), _DIALOGUE),
  )
}
# Sets of documents, mixed in the proportion of their tokens.
MIXTURES = {"books_wiki_lplm": ("wikipedia_lplm", "books_lplm")}

# Sets that files may hold.
IN_FILES = tuple(name for name, public in SETS.items() if public.recipe.from_files)
