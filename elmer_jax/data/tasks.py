# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The tasks and mixtures of this project in seqio's registries.

Importing this module registers them, for any seqio program:

    import seqio
    from elmer_jax.data import tasks

    tasks.use_vocabulary("WORKDIR/vocabulary")
    tasks.use_files("wikipedia_lplm", "wikipedia/*.jsonl.zst")  # TFDS by default
    mixture = seqio.get_mixture_or_task("wikipedia_lplm")
    dataset = mixture.get_dataset({"inputs": 128, "targets": 128}, split="train")

Examples have the features `inputs` (BOS, ids, EOS) and `targets` (ids, EOS). Without
shuffling, example i of a task with a seed has the same ids as example i of the task's
cache in `loader` with that seed.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf

from elmer_jax.core.errors import UserError
from elmer_jax.data import seqio_preprocessors
from elmer_jax.data.datasets import dataset_files, pydocs, registry, spelling
from elmer_jax.data.datasets.dataset import DatasetSpec, Item, num_characters
from elmer_jax.data.datasets.dataset_files import use_files as use_files
from elmer_jax.data.seqio_vocabulary import FEATURES
from elmer_jax.data.seqio_vocabulary import VOCABULARY as VOCABULARY
from elmer_jax.data.seqio_vocabulary import use_vocabulary as use_vocabulary
from elmer_jax.metrics import text_metrics
from elmer_jax.tokenizer.special_ids import PAD_ID


class DatasetSpecSource(seqio.DataSource):
  """The documents or pairs of a `DatasetSpec` as a seqio data source.

  A document is {"text"}, a pair {"source", "target"}: scalar strings, in the order of
  the dataset. seqio shuffles examples, not documents.
  """

  def __init__(self, spec: DatasetSpec):
    super().__init__(splits=spec.splits)
    self._spec = spec

  @property
  def spec(self) -> DatasetSpec:
    """The spec; for a public dataset with chosen files, the one that reads them."""
    return dataset_files.with_chosen_files(self._spec)

  @property
  def splits(self) -> Sequence[str]:
    return self.spec.splits

  @property
  def supports_arbitrary_sharding(self) -> bool:
    return False

  def list_shards(self, split: str) -> Sequence[str]:
    return [split]

  def get_dataset(
    self,
    split: str = "train",
    shuffle: bool = True,
    seed: int | None = None,
    shard_info: seqio.ShardInfo | None = None,
    **unused,
  ) -> tf.data.Dataset:
    spec = self.spec
    spec.read(split)  # raises for missing files here, not inside TensorFlow
    names = ("text",) if spec.kind == "lplm" else ("source", "target")

    def items() -> Iterator[dict[str, str]]:
      for item in spec.read(split):
        texts = [item] if isinstance(item, str) else item
        yield dict(zip(names, texts, strict=True))

    signature = {name: tf.TensorSpec([], tf.string) for name in names}
    return tf.data.Dataset.from_generator(items, output_signature=signature)


class SeededTask(seqio.Task):
  """A task that passes the seed of `get_dataset` to its preprocessors.

  seqio itself gives preprocessors only random numbers derived from the seed, which the
  Grain loader could not reproduce. No seed counts as 0.
  """

  def preprocess_postcache(
    self,
    dataset: tf.data.Dataset,
    sequence_length: Mapping[str, int] | None,
    seed: int | None = None,
  ) -> tf.data.Dataset:
    with seqio_preprocessors.use_seed(seed):
      return super().preprocess_postcache(dataset, sequence_length, seed)


def register_lplm(spec: DatasetSpec) -> seqio.Task:
  """Registers a dataset of documents as an LPLM pre-training task.

  For your own files, `spec` is `datasets.local_files.text_files_dataset(name, files)`.
  """
  return _register(spec, [seqio_preprocessors.cut_windows, seqio_preprocessors.corrupt])


def register_pairs(
  spec: DatasetSpec,
  postprocess_fn: Callable | None = text_metrics.one_line,
  metric_fns: Sequence[Callable] = (text_metrics.rouge, text_metrics.distinct_outputs),
) -> seqio.Task:
  """Registers a dataset of pairs as a task with its metrics.

  For your own files, `spec` is `datasets.local_files.pair_files_dataset(name, files)`.
  """
  return _register(spec, [seqio_preprocessors.cut_pairs], postprocess_fn, metric_fns)


def _register(
  spec: DatasetSpec,
  preprocessors: Sequence[Callable],
  postprocess_fn: Callable | None = None,
  metric_fns: Sequence[Callable] = (),
) -> seqio.Task:
  if spec.name in seqio.TaskRegistry.names():
    raise UserError(f"task {spec.name} already exists: choose another name")
  return seqio.TaskRegistry.add(
    spec.name,
    source=DatasetSpecSource(spec),
    preprocessors=[
      seqio_preprocessors.encode,
      seqio.CacheDatasetPlaceholder(required=False),
      *preprocessors,
    ],
    output_features=FEATURES,
    postprocess_fn=postprocess_fn,
    metric_fns=list(metric_fns),
    task_cls=SeededTask,
  )


_mixtures_by_tokens: set[str] = set()


def register_mixture(
  name: str, parts: Sequence[str] | Mapping[str, float]
) -> seqio.Mixture:
  """Registers a mixture of tasks.

  Args:
    name: of the mixture.
    parts: names of tasks, each with its rate; or the names alone, to mix them in
      proportion to their tokens. seqio estimates these from the sizes of the datasets,
      `prepare` counts them.

  Raises:
    UserError: the name already exists, or a task doesn't.
  """
  if name in [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]:
    raise UserError(f"task or mixture {name} already exists: choose another name")
  for part in parts:
    _check_name(part, seqio.TaskRegistry.names(), f"mixture {name}: there is no task")
  if isinstance(parts, Mapping):
    return seqio.MixtureRegistry.add(name, list(parts.items()))
  _mixtures_by_tokens.add(name)
  return seqio.MixtureRegistry.add(name, list(parts), default_rate=_num_characters)


def _num_characters(task: seqio.Task) -> float:
  """Estimates the relative number of tokens of a task."""
  return float(task.source.spec.size("train"))


def _check_name(name: str, known: Sequence[str], message: str) -> None:
  if name not in known:
    [closest] = difflib.get_close_matches(name, known, n=1, cutoff=0)
    raise UserError(f"{message} {name!r}. Did you mean {closest!r}?")


def dataset_specs_of(name: str) -> list[tuple[DatasetSpec, float | None]]:
  """Returns the datasets of a task or mixture, each with its rate.

  The rate is None in a mixture in proportion to tokens.

  Raises:
    UserError: there is no such task or mixture, or one of its tasks was not registered
      with `register_lplm` or `register_pairs`.
  """
  known = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
  _check_name(name, known, "there is no task or mixture")
  provider = seqio.get_mixture_or_task(name)
  specs = []
  for task in seqio.get_subtasks(provider):
    if not isinstance(task.source, DatasetSpecSource):
      raise UserError(
        f"task {task.name} can't be prepared: register it with "
        "elmer_jax.data.tasks.register_lplm or register_pairs"
      )
    rate = 1.0
    if isinstance(provider, seqio.Mixture):
      rate = None if name in _mixtures_by_tokens else provider.get_rate(task)
    specs.append((task.source.spec, rate))
  return specs


def texts(evaluator: seqio.Evaluator, feature: str = "inputs") -> list[str]:
  """Returns the texts of a feature of all examples of an evaluator of one task."""
  [task] = evaluator.eval_tasks
  examples = evaluator.cached_task_datasets[task.name].as_numpy_iterator()
  return [example[f"{feature}_pretokenized"].decode() for example in examples]


def predictions(rows: Sequence[np.ndarray]) -> list[tuple[int, np.ndarray]]:
  """Returns generated ids in the format of a `predict_fn` of `seqio.Evaluator`.

  Args:
    rows: token ids int32 [n] of every example, in the order of the dataset.

  Returns:
    Index and ids [N] of every example, padded to the same length.
  """
  padded = np.full((len(rows), max(map(len, rows))), PAD_ID, np.int32)
  for row, ids in zip(padded, rows, strict=True):
    row[: len(ids)] = ids
  return list(enumerate(padded))


def _register_defaults() -> None:
  """Registers the default tasks and the public datasets."""

  def size_of(read: Callable[[str], Iterator[Item]]) -> Callable[[str], int]:
    return lambda split: sum(map(num_characters, read(split)))

  documents, pairs = pydocs.documents, pydocs.summary_pairs
  register_lplm(DatasetSpec("pydocs_lplm", "lplm", documents, size=size_of(documents)))
  register_pairs(DatasetSpec("pydocs_summary", "pairs", pairs, size=size_of(pairs)))
  typos = spelling.pairs
  register_pairs(DatasetSpec("pydocs_spelling", "pairs", typos, size=size_of(typos)))
  register_mixture("pydocs_pretrain", {"pydocs_lplm": 1.0})
  for entry in registry.DATASETS.values():
    if entry.spec.kind == "lplm":
      register_lplm(entry.spec)
    else:
      register_pairs(entry.spec, entry.postprocess_fn, entry.metric_fns)
  for name, parts in registry.MIXTURES.items():
    register_mixture(name, parts)


_register_defaults()
