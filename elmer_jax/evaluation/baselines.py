# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Baselines without a model, which a fine-tuned model should beat.

baseline_constant   one text for every source: a training target
baseline_template   the source's name in a fixed sentence, such as "Return the NAME."
baseline_lead       the first sentence of the source, or of its last part
baseline_name       the source's name, spelled out

The name is defined by the signature in the source's first line. The baselines that use
it exist only where every source has a signature, as in `pydocs_summary`. The constant
and the template are those with the highest ROUGE-L on examples other than the scored
ones.
"""

import collections
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from elmer_jax.data.datasets.dataset import SEPARATOR
from elmer_jax.metrics import text_metrics

Pair = tuple[str, str]
Baseline = Callable[[str], str]  # from a source to an output

CANDIDATES = 200  # training targets that are tried as the constant
SAMPLE = 100  # examples that candidates are scored on

TEMPLATES = (
  "Return the {}.",
  "Returns the {}.",
  "Return a {}.",
  "Return the {} of the object.",
  "Get the {}.",
  "Create a {}.",
  "Compute the {}.",
  "The {}.",
  "A {} class.",
  "{} the given object.",
)

_SIGNATURE = re.compile(r"(?:(?:async )?def|class|module) (?:\w+\.)*(\w+)")
# The words of to_json, jsonDecoder and HTTPServer2.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[^\w\s]*[A-Z])")


def fit(train_targets: Iterable[str], held_out: Sequence[Pair]) -> dict[str, Baseline]:
  """Returns the baselines, by name.

  Args:
    train_targets: of the training split. The candidates for the constant are those that
      occur more than once, and others evenly spaced over the split.
    held_out: pairs that are not among the scored examples.
  """
  sample = evenly_spaced(held_out, SAMPLE)
  constants = map(_constant, _candidates(train_targets))
  baselines = {"baseline_constant": _best(constants, sample)}
  have_names = all(name_of(source) is not None for source, _ in held_out)
  if have_names:
    baselines["baseline_template"] = _best(map(_template, TEMPLATES), sample)
  baselines["baseline_lead"] = lead
  if have_names:
    baselines["baseline_name"] = _template("{}")
  return baselines


def _best(candidates: Iterable[Baseline], sample: Sequence[Pair]) -> Baseline:
  """Returns the first of those with the highest ROUGE-L on the sample."""
  targets = [target for _, target in sample]

  def score(baseline: Baseline) -> float:
    outputs = [baseline(source) for source, _ in sample]
    return text_metrics.rouge(targets, outputs)["rougeL"]

  return max(candidates, key=score)


def lead(source: str) -> str:
  """Returns the first sentence after the signature, or of a text without one.

  Of a source with parts, such as an answer and its context, the last part counts.
  """
  source = source.rpartition(SEPARATOR)[2]
  first, _, rest = source.partition("\n")
  text = rest if _SIGNATURE.match(first) and rest.strip() else source
  paragraph = text_metrics.one_line(text.strip().split("\n\n")[0])
  return _SENTENCE_END.split(paragraph, maxsplit=1)[0]


def name_of(source: str) -> str | None:
  """Returns "json decoder" for "class JSONDecoder(object)"; None: no signature."""
  signature = _SIGNATURE.match(source)
  return signature and " ".join(_WORD.findall(signature[1])).lower()


def evenly_spaced(items: Sequence, count: int) -> list:
  """Returns at most `count` of the items, evenly spaced, in order."""
  indices = np.linspace(0, len(items) - 1, min(count, len(items))).round()
  return [items[index] for index in indices.astype(int)]


def _candidates(targets: Iterable[str]) -> list[str]:
  """Returns the most frequent targets, and others until there are CANDIDATES."""
  counts = collections.Counter(targets)
  repeated = [text for text, count in counts.most_common(CANDIDATES) if count > 1]
  return repeated + evenly_spaced(list(counts), CANDIDATES - len(repeated))


def _constant(text: str) -> Baseline:
  return lambda source: text


def _template(template: str) -> Baseline:
  return lambda source: template.format(name_of(source) or "").strip()
