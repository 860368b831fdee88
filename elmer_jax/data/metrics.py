# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What a generated text is compared by, as functions of texts that seqio can call.

ROUGE is that of the package rouge-score: lower case, everything but a-z and 0-9 taken
for space, words of more than three letters cut to their Porter stems, no stop words
left out. Of every pair of texts the F-measure, times 100; the mean over all pairs.
ROUGE-L takes the whole text for one sequence. So texts in another script than Latin
score nothing.
"""

import functools
from collections.abc import Mapping, Sequence

ROUGE = ("rouge1", "rouge2", "rougeL")


def one_line(text: str, *, example: Mapping | None = None, is_target: bool = False):
  """Returns a text without line breaks and double spaces: seqio's post-processing."""
  del example, is_target
  return " ".join(text.split())


def rouge(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
  """Returns ROUGE-1, ROUGE-2 and ROUGE-L, 0 to 100; see the top of this file."""
  scorer = _scorer()
  totals = dict.fromkeys(ROUGE, 0.0)
  for target, prediction in zip(targets, predictions, strict=True):
    for name, score in scorer.score(target, prediction).items():
      totals[name] += score.fmeasure
  return {name: 100 * total / len(targets) for name, total in totals.items()}


def distinct(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
  """Returns the share, 0 to 1, of different texts among the predictions."""
  del targets
  return {"distinct_outputs": len(set(predictions)) / len(predictions)}


@functools.cache
def _scorer():
  from rouge_score import rouge_scorer, tokenizers

  tokenizer = tokenizers.DefaultTokenizer(use_stemmer=True)
  # Stemming takes most of the time, and every target meets many predictions.
  tokenizer.tokenize = functools.lru_cache(2**16)(tokenizer.tokenize)
  return rouge_scorer.RougeScorer(ROUGE, tokenizer=tokenizer)
