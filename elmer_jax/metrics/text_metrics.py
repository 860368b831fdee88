# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of generated texts, as functions that seqio can call.

Scores are 0 to 100, except `distinct_outputs`. The settings:

rouge1, rouge2, rougeL   mean over examples of the F-measure. Package rouge-score with
    the tokens of ROUGE-1.5.5: lower case, all characters but a-z and 0-9 are spaces,
    stems by `rouge_stemmer`, stop words kept. So texts without Latin letters score 0.
    ROUGE-L treats the whole text as one sequence. Published figures of ROUGE-1.5.5 are
    reproduced within 0.02 (benchmarks/xsum_rouge.py); rouge-score's own stemmer gives
    up to 0.45 less.
rougeLsum   ROUGE-L of summaries with several lines: for each line of the reference the
    words that any line of the output has in that order (CNN/DailyMail's ROUGE-L).
bleu1 … bleu4   corpus BLEU: geometric mean of the precisions of 1- to n-grams, times
    the brevity penalty. Package sacrebleu, tokens "13a", lower case, no smoothing: a
    precision of 0 makes it 0.
meteor   METEOR 1.5 for English over all texts, normalised, default weights (`meteor`).
chrf   mean over examples of chrF2, of characters in any script (package sacrebleu).
distinct1, distinct2   different words (bigrams) per 100 words (bigrams) of all outputs;
    tokens as for BLEU.
distinct_outputs   the share, 0 to 1, of different texts among the outputs.

A target is a text, or a list of them: several references. ROUGE and chrF then take the
best of them, BLEU matches the words of any.
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
Target = str | Sequence[str]

_NO_WORD = re.compile("[^a-z0-9]+")


def one_line(text: str, *, example: Mapping | None = None, is_target: bool = False):
  """Removes line breaks and double spaces; for seqio's post-processing."""
  del example, is_target
  return " ".join(text.split())


def lines(text: str, *, example: Mapping | None = None, is_target: bool = False):
  """Removes double spaces and empty lines; for seqio's post-processing."""
  del example, is_target
  return "\n".join(filter(None, (" ".join(line.split()) for line in text.split("\n"))))


def references(target: Target) -> list[str]:
  """Returns the references of a target."""
  return [target] if isinstance(target, str) else list(target)


def rouge(targets: Sequence[Target], predictions: Sequence[str]) -> Scores:
  """Returns ROUGE-1, ROUGE-2 and ROUGE-L; see the top of this file."""
  return _rouge(targets, predictions, ROUGE)


def rouge_with_lsum(targets: Sequence[Target], predictions: Sequence[str]) -> Scores:
  """Returns ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum."""
  return _rouge(targets, predictions, (*ROUGE, "rougeLsum"))


def bleu(
  targets: Sequence[Target], predictions: Sequence[str], order: int = 4
) -> Scores:
  """Returns BLEU-1 to BLEU-`order`; see the top of this file."""
  counts = bleu_counts(targets, predictions, order).sum(0)
  return {name: float(score) for name, score in bleu_from_counts(counts).items()}


def bleu_counts(
  targets: Sequence[Target], predictions: Sequence[str], order: int = 4
) -> np.ndarray:
  """Returns the sufficient statistics of BLEU per example, float64 [n, 2 + 2 · order].

  The lengths of prediction and target in words, then for each n the n-grams of the
  prediction that match the target, then for each n all n-grams of the prediction.
  """
  from sacrebleu.metrics import BLEU

  metric = BLEU(
    max_ngram_order=order,
    lowercase=True,
    smooth_method="none",
    effective_order=True,  # avoids warnings about short texts; same counts
  )
  rows = []
  for target, prediction in zip(targets, predictions, strict=True):
    found = metric.sentence_score(prediction, references(target))
    rows.append([found.sys_len, found.ref_len, *found.counts, *found.totals])
  return np.array(rows, np.float64)


def bleu_from_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
  """Returns BLEU-1 to BLEU-`order` of sums of `bleu_counts`, [..., 2 + 2 · order]."""
  order = counts.shape[-1] // 2 - 1
  lengths, matches, totals = np.split(counts, [2, 2 + order], axis=-1)
  predicted, wanted = np.moveaxis(lengths, -1, 0)
  brevity = np.exp(np.minimum(0, 1 - wanted / np.maximum(predicted, 1e-9)))
  precisions = matches / np.maximum(totals, 1)
  return {
    f"bleu{n}": 100 * brevity * precisions[..., :n].prod(-1) ** (1 / n)
    for n in range(1, order + 1)
  }


def bleu2(targets: Sequence[Target], predictions: Sequence[str]) -> Scores:
  """Returns BLEU-1 and BLEU-2, which papers about dialogue report."""
  return bleu(targets, predictions, order=2)


def chrf(targets: Sequence[Target], predictions: Sequence[str]) -> Scores:
  """Returns chrF; see the top of this file."""
  from sacrebleu.metrics import CHRF

  metric = CHRF()
  scores = [
    metric.sentence_score(prediction, references(target)).score
    for target, prediction in zip(targets, predictions, strict=True)
  ]
  return {"chrf": float(np.mean(scores))}


def distinct_outputs(targets: Sequence[Target], predictions: Sequence[str]) -> Scores:
  """Returns the share, 0 to 1, of different texts among the predictions."""
  del targets
  return {"distinct_outputs": len(set(predictions)) / len(predictions)}


def distinct_n(targets: Sequence[Target], predictions: Sequence[str]) -> Scores:
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


def share_without_words(texts: Sequence[str]) -> float:
  """Returns the share, 0 to 1, of texts in which ROUGE finds nothing to compare."""
  return sum(not _NO_WORD.sub("", text.lower()) for text in texts) / len(texts)


def _rouge(
  targets: Sequence[Target], predictions: Sequence[str], names: tuple[str, ...]
) -> Scores:
  each = rouge_per_example(targets, predictions, names)
  return {name: float(scores.mean()) for name, scores in each.items()}


def rouge_per_example(
  targets: Sequence[Target], predictions: Sequence[str], names: tuple[str, ...] = ROUGE
) -> dict[str, np.ndarray]:
  """Returns each ROUGE score of every example, float64 [n]."""
  scorer = _scorer(names)
  found = [
    scorer.score_multi(references(target), prediction)
    for target, prediction in zip(targets, predictions, strict=True)
  ]
  return {
    name: np.array([100 * scores[name].fmeasure for scores in found]) for name in names
  }


@functools.cache
def _scorer(names: tuple[str, ...]):
  from rouge_score import rouge_scorer, tokenizers

  class Tokenizer(tokenizers.Tokenizer):
    # Every target is scored against many predictions.
    @functools.lru_cache(2**16)  # noqa: B019 (as long-lived as the module)
    def tokenize(self, text: str) -> list[str]:
      return [
        rouge_stemmer.stem(word) for word in _NO_WORD.sub(" ", text.lower()).split()
      ]

  return rouge_scorer.RougeScorer(list(names), tokenizer=Tokenizer())
