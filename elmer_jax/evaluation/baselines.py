# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs that need no model: what a fine-tuned model has to beat.

baseline_constant   one text for every source: a training target
baseline_template   the source's name in a fixed sentence, such as "Return the NAME."
baseline_lead       the first sentence of the source, or of its last part
baseline_name       the source's name, spelled out

The name is the one that the signature in the source's first line defines; where not
every source has a signature, as those of `pydocs_summary` do, there are no baselines
made of names. Where sources are put together from parts, such as an answer and its
context, their first sentence is none of the text's, and there is no lead. The constant
and the template are those with the highest ROUGE-L on examples that are not the scored
ones.
"""

import collections
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from elmer_jax.data.datasets.dataset import SEPARATOR
from elmer_jax.metrics import text_metrics

Pair = tuple[str, str]
Writer = Callable[[str], str]  # from a source to an output

# Of the training targets so many are tried as the constant, each on so many examples.
CANDIDATES = 200
SAMPLE = 100

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


def fit(train_targets: Iterable[str], held_out: Sequence[Pair]) -> dict[str, Writer]:
  """Returns the baselines, by name.

  Args:
    train_targets: of the training split. The constant is one of those that occur
      more than once, or of others that are spread over the split.
    held_out: pairs that the scored examples are not among.
  """
  sample = spread(held_out, SAMPLE)
  constants = map(_constant, _candidates(train_targets))
  writers = {"baseline_constant": best(constants, sample)}
  named = all(name_of(source) is not None for source, _ in held_out)
  if named:
    writers["baseline_template"] = best(map(_template, TEMPLATES), sample)
  writers["baseline_lead"] = lead
  if named:
    writers["baseline_name"] = _template("{}")
  return writers


def best(writers: Iterable[Writer], sample: Sequence[Pair]) -> Writer:
  """Returns the first of those with the highest ROUGE-L on the sample."""
  targets = [target for _, target in sample]

  def score(writer: Writer) -> float:
    return text_metrics.rouge(targets, [writer(source) for source, _ in sample])[
      "rougeL"
    ]

  return max(writers, key=score)


def lead(source: str) -> str:
  """Returns the first sentence below the signature, or of a text without one.

  Of a source with parts, such as an answer and its context, that of the last.
  """
  source = source.rpartition(SEPARATOR)[2]
  first, _, rest = source.partition("\n")
  text = rest if _SIGNATURE.match(first) and rest.strip() else source
  paragraph = text_metrics.one_line(text.strip().split("\n\n")[0])
  return _SENTENCE_END.split(paragraph, maxsplit=1)[0]


def name_of(source: str) -> str | None:
  """Returns "json decoder" for "class JSONDecoder(object)"; None without signature."""
  signature = _SIGNATURE.match(source)
  return signature and " ".join(_WORD.findall(signature[1])).lower()


def spread(items: Sequence, count: int) -> list:
  """Returns at most `count` of the items, evenly spread, in order."""
  places = np.linspace(0, len(items) - 1, min(count, len(items))).round()
  return [items[place] for place in places.astype(int)]


def _candidates(targets: Iterable[str]) -> list[str]:
  """Returns the most frequent targets, and others until there are CANDIDATES."""
  counts = collections.Counter(targets)
  repeated = [text for text, count in counts.most_common(CANDIDATES) if count > 1]
  return repeated + spread(list(counts), CANDIDATES - len(repeated))


def _constant(text: str) -> Writer:
  return lambda source: text


def _template(template: str) -> Writer:
  return lambda source: template.format(name_of(source) or "").strip()
