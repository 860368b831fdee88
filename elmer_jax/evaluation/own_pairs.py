# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The user's own pairs as a seqio task for an evaluation.

Pairs with the same source are one example with several references.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import ml_collections
import seqio

from elmer_jax.data import tasks
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.data.datasets.local_files import configured_dataset
from elmer_jax.metrics import text_metrics

_METRICS = (text_metrics.rouge, text_metrics.chrf, text_metrics.distinct_outputs)

References = Mapping[str, Sequence[str]]  # by source


@contextlib.contextmanager
def registered(
  config: ml_collections.ConfigDict, split: str
) -> Iterator[tuple[seqio.Task, References]]:
  """Yields the task of a run's own pairs, which exists within the context.

  Args:
    config: of the run.
    split: to evaluate; its examples have distinct sources.

  Yields:
    The task, and all references of each source of the split.
  """
  spec = configured_dataset(config, "own_pairs")
  references: dict[str, list[str]] = {}
  if split in spec.splits:
    for source, target in spec.read(split):
      references.setdefault(source, []).append(target)

  def read(wanted: str) -> Iterator[tuple[str, str]]:
    if wanted != split:  # for baselines
      return spec.read(wanted)
    return ((source, targets[0]) for source, targets in references.items())

  def postprocess(
    text: str, example: Mapping | None = None, is_target: bool = False
  ) -> text_metrics.Target:
    if not is_target:
      return text_metrics.one_line(text)
    found = references[example["inputs_pretokenized"].decode()]
    lines = [text_metrics.one_line(reference) for reference in found]
    return lines if len(lines) > 1 else lines[0]

  grouped = DatasetSpec(spec.name, "pairs", read, spec.splits, spec.size)
  try:
    yield tasks.register_pairs(grouped, postprocess, _METRICS), references
  finally:
    seqio.TaskRegistry.remove(spec.name)
