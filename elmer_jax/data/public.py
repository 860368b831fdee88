# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The public data sets: what there is, and what scores it.

Each has a module that reads it; `tasks` registers all of them with seqio.
"""

import dataclasses
from collections.abc import Callable

from elmer_jax.data import corpora, metrics, personachat, squad, summaries
from elmer_jax.data.recipe import Recipe


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
  postprocess_fn: Callable = metrics.one_line


_QUESTIONS = (metrics.bleu, metrics.meteor, metrics.rouge, metrics.distinct)
_DIALOGUE = (metrics.bleu2, metrics.distinct_words, metrics.distinct)
_LINES = (metrics.rouge_of_lines, metrics.distinct)

SETS = {
  public.recipe.name: public
  for public in (
    PublicSet(corpora.wikipedia()),
    PublicSet(corpora.books()),
    PublicSet(summaries.xsum(), (metrics.rouge, metrics.distinct)),
    PublicSet(summaries.cnn_dailymail(), _LINES, metrics.lines),
    PublicSet(squad.recipe(), _QUESTIONS),
    PublicSet(personachat.recipe(), _DIALOGUE),
  )
}
# Sets of documents, mixed in the proportion of their tokens.
MIXTURES = {"books_wiki_lplm": ("wikipedia_lplm", "books_lplm")}

# Sets that files may hold.
IN_FILES = tuple(name for name, public in SETS.items() if public.recipe.from_files)
