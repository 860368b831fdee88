# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What a generated text is compared by, as functions of texts that seqio can call.

Everything but the share of distinct outputs is 0 to 100. The settings:

rouge1, rouge2, rougeL   of every pair of texts the F-measure, then the mean. Package
    rouge-score with the tokens of ROUGE-1.5.5: lower case, everything but a-z and 0-9
    taken for space, stems by `stemming`, no stop words left out. So texts in another
    script than Latin score nothing. ROUGE-L takes the whole text for one sequence.
    Published figures of ROUGE-1.5.5 come out within 0.02 (benchmarks/xsum_rouge.py);
    rouge-score's own stems would give up to 0.45 less.
rougeLsum   ROUGE-L of summaries of several lines: for each line of the reference the
    words that any line of the output has in that order (CNN/DailyMail's ROUGE-L).
bleu1 … bleu4   of all texts together: geometric mean of the precisions of 1 to n words,
    times the brevity penalty. Package sacrebleu, tokens "13a", lower case, no
    smoothing: a precision of zero makes it zero.
meteor   METEOR 1.5 for English over all texts, normalised, default weights (`meteor`).
distinct1, distinct2   of all texts together: different words (pairs of neighbouring
    words) in 100 words (pairs); tokens as for BLEU. Of the outputs alone.
distinct_outputs   the share, 0 to 1, of different texts among the outputs.
"""

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from elmer_jax.metrics import rouge_stemmer
from elmer_jax.metrics.meteor import meteor as meteor

ROUGE = ("rouge1", "rouge2", "rougeL")

Scores = dict[str, float]

_NO_WORD = re.compile("[^a-z0-9]+")


def one_line(text: str, *, example: Mapping | None = None, is_target: bool = False):
  """Returns a text without line breaks and double spaces: seqio's post-processing."""
  del example, is_target
  return " ".join(text.split())


def lines(text: str, *, example: Mapping | None = None, is_target: bool = False):
  """Returns a text without double spaces and empty lines: seqio's post-processing."""
  del example, is_target
  return "\n".join(filter(None, (" ".join(line.split()) for line in text.split("\n"))))


def rouge(targets: Sequence[str], predictions: Sequence[str]) -> Scores:
  """Returns ROUGE-1, ROUGE-2 and ROUGE-L; see the top of this file."""
  return _rouge(targets, predictions, ROUGE)


def rouge_of_lines(targets: Sequence[str], predictions: Sequence[str]) -> Scores:
  """Returns the same, and ROUGE-L over lines."""
  return _rouge(targets, predictions, (*ROUGE, "rougeLsum"))


def bleu(targets: Sequence[str], predictions: Sequence[str], order: int = 4) -> Scores:
  """Returns BLEU-1 to BLEU-`order`; see the top of this file."""
  counts = bleu_counts(targets, predictions, order).sum(0)
  return {name: float(score) for name, score in bleu_of_counts(counts).items()}


def bleu_counts(
  targets: Sequence[str], predictions: Sequence[str], order: int = 4
) -> np.ndarray:
  """Returns what BLEU is made of, for each text: float64 [n, 2 + 2 · order].

  The lengths of prediction and target in words, then for each n-gram size how many
  n-grams of the prediction its target has, then how many it has itself.
  """
  from sacrebleu.metrics import BLEU

  metric = BLEU(
    max_ngram_order=order,
    lowercase=True,
    smooth_method="none",
    effective_order=True,  # else it warns of short texts; the counts are the same
  )
  rows = []
  for target, prediction in zip(targets, predictions, strict=True):
    found = metric.sentence_score(prediction, [target])
    rows.append([found.sys_len, found.ref_len, *found.counts, *found.totals])
  return np.array(rows, np.float64)


def bleu_of_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
  """Returns BLEU-1 and so on of sums of `bleu_counts`, [..., 2 + 2 · order]."""
  order = counts.shape[-1] // 2 - 1
  lengths, matches, totals = np.split(counts, [2, 2 + order], axis=-1)
  written, wanted = np.moveaxis(lengths, -1, 0)
  brevity = np.exp(np.minimum(0, 1 - wanted / np.maximum(written, 1e-9)))
  precisions = matches / np.maximum(totals, 1)
  return {
    f"bleu{n}": 100 * brevity * precisions[..., :n].prod(-1) ** (1 / n)
    for n in range(1, order + 1)
  }


def bleu2(targets: Sequence[str], predictions: Sequence[str]) -> Scores:
  """Returns BLEU-1 and BLEU-2, as papers about dialogue do."""
  return bleu(targets, predictions, order=2)


def distinct(targets: Sequence[str], predictions: Sequence[str]) -> Scores:
  """Returns the share, 0 to 1, of different texts among the predictions."""
  del targets
  return {"distinct_outputs": len(set(predictions)) / len(predictions)}


def distinct_words(targets: Sequence[str], predictions: Sequence[str]) -> Scores:
  """Returns Distinct-1 and Distinct-2; see the top of this file."""
  del targets
  from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

  tokenize = Tokenizer13a()
  texts = [tokenize(text.lower()).split() for text in predictions]
  scores = {}
  for n in (1, 2):
    seen = list(itertools.chain.from_iterable(_ngrams(words, n) for words in texts))
    scores[f"distinct{n}"] = 100 * len(set(seen)) / max(len(seen), 1)
  return scores


def _ngrams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
  return zip(*(words[start:] for start in range(n)), strict=False)


def _rouge(
  targets: Sequence[str], predictions: Sequence[str], names: tuple[str, ...]
) -> Scores:
  each = rouge_of_each(targets, predictions, names)
  return {name: float(scores.mean()) for name, scores in each.items()}


def rouge_of_each(
  targets: Sequence[str], predictions: Sequence[str], names: tuple[str, ...] = ROUGE
) -> dict[str, np.ndarray]:
  """Returns the ROUGE of every pair of texts, float64 [n] each."""
  scorer = _scorer(names)
  found = [
    scorer.score(target, prediction)
    for target, prediction in zip(targets, predictions, strict=True)
  ]
  return {
    name: np.array([100 * scores[name].fmeasure for scores in found]) for name in names
  }


@functools.cache
def _scorer(names: tuple[str, ...]):
  from rouge_score import rouge_scorer, tokenizers

  class Tokenizer(tokenizers.Tokenizer):
    # Every target meets many predictions.
    @functools.lru_cache(2**16)  # noqa: B019 (lives as long as the module)
    def tokenize(self, text: str) -> list[str]:
      return [
        rouge_stemmer.stem(word) for word in _NO_WORD.sub(" ", text.lower()).split()
      ]

  return rouge_scorer.RougeScorer(list(names), tokenizer=Tokenizer())
