# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The public data sets and the metrics that papers report on them.

Each has a module that reads it; `data.tasks` registers all of them with seqio.
"""

import dataclasses
from collections.abc import Callable

from elmer_jax.data.datasets import (
  personachat,
  squad,
  wikipedia_books,
  xsum_cnn_dailymail,
)
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.metrics import text_metrics


@dataclasses.dataclass(frozen=True)
class PublicDataset:
  """A public data set and how model outputs on it are scored.

  Attributes:
    spec: reads the set as TFDS prepared it. For sets that only exist as files, reading
      raises an error that says so; `spec.from_files` reads the files.
    metric_fns: seqio metric functions.
    postprocess_fn: seqio post-processing of outputs and targets.
  """

  spec: DatasetSpec
  metric_fns: tuple[Callable, ...] = ()
  postprocess_fn: Callable = text_metrics.one_line


_QUESTION_METRICS = (
  text_metrics.bleu,
  text_metrics.meteor,
  text_metrics.rouge,
  text_metrics.distinct_outputs,
)
_DIALOGUE_METRICS = (
  text_metrics.bleu2,
  text_metrics.distinct_n,
  text_metrics.distinct_outputs,
)
_SUMMARY_METRICS = (text_metrics.rouge, text_metrics.distinct_outputs)
_HIGHLIGHTS_METRICS = (text_metrics.rouge_with_lsum, text_metrics.distinct_outputs)

DATASETS = {
  dataset.spec.name: dataset
  for dataset in (
    PublicDataset(wikipedia_books.wikipedia()),
    PublicDataset(wikipedia_books.books()),
    PublicDataset(xsum_cnn_dailymail.xsum(), _SUMMARY_METRICS),
    PublicDataset(
      xsum_cnn_dailymail.cnn_dailymail(), _HIGHLIGHTS_METRICS, text_metrics.lines
    ),
    PublicDataset(squad.question_generation(), _QUESTION_METRICS),
    PublicDataset(personachat.personachat(), _DIALOGUE_METRICS),
  )
}
# Data sets of documents, mixed in proportion to their numbers of tokens.
MIXTURES = {"books_wiki_lplm": ("wikipedia_lplm", "books_lplm")}

# The data sets that can be read from files.
FILE_DATASETS = tuple(
  name for name, dataset in DATASETS.items() if dataset.spec.from_files
)
