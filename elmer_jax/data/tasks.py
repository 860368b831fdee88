# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The tasks and mixtures of this project in seqio's registries.

Importing this module registers them, for any seqio program:

    import seqio
    from elmer_jax.data import tasks

    tasks.use_vocabulary("WORKDIR/vocabulary")
    tasks.use_files("wikipedia_lplm", "wikipedia/*.jsonl.zst")  # else what TFDS has
    mixture = seqio.get_mixture_or_task("wikipedia_lplm")
    dataset = mixture.get_dataset({"inputs": 128, "targets": 128}, split="train")

Examples have the features `inputs` (BOS, ids, EOS) and `targets` (ids, EOS). Without
shuffling, example i of a task under a seed has the ids that `loader` gives for index i
of the task's cache under that seed. Of the package only this module, `task_vocabulary`
and the evaluation of fine-tunings import seqio and TensorFlow.
"""

import contextlib
import contextvars
import difflib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf

from elmer_jax.core.errors import UserError
from elmer_jax.data import loader
from elmer_jax.data.cache.windows import Boundaries, windows
from elmer_jax.data.corruption import Corruption
from elmer_jax.data.datasets import dataset_files, pydocs, registry, spelling
from elmer_jax.data.datasets.dataset import DatasetSpec, Item, num_characters
from elmer_jax.data.datasets.dataset_files import use_files as use_files
from elmer_jax.data.datasets.local_files import pair_files_dataset, text_files_dataset
from elmer_jax.data.seqio_vocabulary import FEATURES, VOCABULARY
from elmer_jax.data.seqio_vocabulary import use_vocabulary as use_vocabulary
from elmer_jax.metrics import text_metrics
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID, PAD_ID


@functools.cache
def _corruption(vocabulary: Vocabulary) -> Corruption:
  return Corruption.of(vocabulary)


@functools.cache
def _boundaries(vocabulary: Vocabulary) -> Boundaries:
  return Boundaries.of(vocabulary)


class DatasetSpecSource(seqio.DataSource):
  """The documents or pairs of a spec as a seqio data source.

  A document is {"text"}, a pair {"source", "target"}: scalar strings, in the order of
  the spec. seqio shuffles examples, not documents.
  """

  def __init__(self, spec: DatasetSpec):
    super().__init__(splits=spec.splits)
    self._spec = spec

  @property
  def spec(self) -> DatasetSpec:
    """The spec; of a public set, the one that reads the files chosen for it."""
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
    spec.read(split)  # what is missing is said now, not from inside TensorFlow
    names = ("text",) if spec.kind == "lplm" else ("source", "target")

    def items() -> Iterator[dict[str, str]]:
      for item in spec.read(split):
        texts = [item] if isinstance(item, str) else item
        yield dict(zip(names, texts, strict=True))

    signature = {name: tf.TensorSpec([], tf.string) for name in names}
    return tf.data.Dataset.from_generator(items, output_signature=signature)


_seed: contextvars.ContextVar[int] = contextvars.ContextVar("seed", default=0)


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
  token = _seed.set(seed or 0)
  try:
    yield
  finally:
    _seed.reset(token)


class SeededTask(seqio.Task):
  """A task whose preprocessors know the seed that the dataset was asked for with.

  seqio itself only gives preprocessors a stream of numbers that it derives from the
  seed, which the Grain loader could not draw. No seed counts as 0.
  """

  def preprocess_postcache(
    self,
    dataset: tf.data.Dataset,
    sequence_length: Mapping[str, int] | None,
    seed: int | None = None,
  ) -> tf.data.Dataset:
    with _seeded(seed):
      return super().preprocess_postcache(dataset, sequence_length, seed)


def encode(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Encodes every text {name: string} as {name: int32 [n]}; keeps the pairs' texts.

  A pair's texts go on as `inputs_pretokenized` and `targets_pretokenized`, as is usual
  in seqio, for post-processing and metrics.
  """

  def of_example(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    encoded = {name: VOCABULARY.encode_tf(text) for name, text in example.items()}
    if "source" in example:
      encoded["inputs_pretokenized"] = example["source"]
      encoded["targets_pretokenized"] = example["target"]
    return encoded

  return dataset.map(of_example, num_parallel_calls=tf.data.AUTOTUNE)


def cut_windows(
  dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None
) -> tf.data.Dataset:
  """Cuts {"text": int32 [n]} into {"text": int32 [window]}, as the cache does.

  A window has at most min(inputs - 2, targets - 1) ids, for BOS and EOS to fit.
  """
  lengths = _lengths(sequence_length)
  length = min(lengths["inputs"] - 2, lengths["targets"] - 1)

  def cut(ids: np.ndarray) -> np.ndarray:
    parts = windows(ids, _boundaries(VOCABULARY.vocabulary), length)
    return np.array([len(part) for part in parts], np.int64)

  def of_document(example: dict[str, tf.Tensor]) -> tf.data.Dataset:
    sizes = tf.ensure_shape(tf.numpy_function(cut, [example["text"]], tf.int64), [None])
    parts = tf.RaggedTensor.from_row_lengths(example["text"], sizes)
    return tf.data.Dataset.from_tensor_slices({"text": parts})

  def dense(example: dict[str, tf.RaggedTensor]) -> dict[str, tf.Tensor]:
    return {"text": tf.ensure_shape(tf.convert_to_tensor(example["text"]), [None])}

  return dataset.flat_map(of_document).map(dense)


def corrupt(
  dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None
) -> tf.data.Dataset:
  """Makes `inputs` and `targets` of windows {"text": int32 [n]}, as the loader does."""
  source_length = _lengths(sequence_length)["inputs"]
  seed = _seed.get()

  def rows(index: int, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    corruption = _corruption(VOCABULARY.vocabulary)
    return loader.lplm_rows(window, seed, int(index), corruption, source_length)

  def of_window(index: tf.Tensor, example: dict[str, tf.Tensor]):
    inputs, targets = tf.numpy_function(
      rows, [index, example["text"]], [tf.int32, tf.int32]
    )
    return {
      "inputs": tf.ensure_shape(inputs, [None]),
      "targets": tf.ensure_shape(targets, [None]),
    }

  return dataset.enumerate().map(of_window, num_parallel_calls=tf.data.AUTOTUNE)


def cut_pairs(
  dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None
) -> tf.data.Dataset:
  """Makes `inputs` and `targets` of encoded pairs, cut so that BOS and EOS fit."""
  lengths = _lengths(sequence_length)

  def of_pair(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    example = dict(example)
    source = example.pop("source")[: lengths["inputs"] - 2]
    target = example.pop("target")[: lengths["targets"] - 1]
    inputs = tf.concat([[BOS_ID], source, [EOS_ID]], axis=0)
    return example | {"inputs": inputs, "targets": tf.concat([target, [EOS_ID]], 0)}

  return dataset.map(of_pair, num_parallel_calls=tf.data.AUTOTUNE)


def _lengths(sequence_length: Mapping[str, int] | None) -> Mapping[str, int]:
  if sequence_length is None or not {"inputs", "targets"} <= sequence_length.keys():
    raise UserError(
      "the tasks of elmer_jax need sequence_length={'inputs': …, 'targets': …}"
    )
  return sequence_length


def register_lplm(spec: DatasetSpec) -> seqio.Task:
  """Registers a spec of documents as an LPLM pre-training task under its name."""
  return _register(spec, [cut_windows, corrupt])


def register_pairs(
  spec: DatasetSpec,
  postprocess_fn: Callable | None = text_metrics.one_line,
  metric_fns: Sequence[Callable] = (text_metrics.rouge, text_metrics.distinct),
) -> seqio.Task:
  """Registers a spec of pairs as a task under its name, with what scores it."""
  return _register(spec, [cut_pairs], postprocess_fn, metric_fns)


def register_text(name: str, files: str) -> seqio.Task:
  """Registers the user's own text files as an LPLM task: 'a.txt,b/*.jsonl.zst'."""
  return register_lplm(text_files_dataset(name, files))


def register_pair_files(name: str, files: str) -> seqio.Task:
  """Registers the user's own pairs as a task: 'a.jsonl,b.tsv'."""
  return register_pairs(pair_files_dataset(name, files))


def _register(spec, preprocessors, postprocess_fn=None, metric_fns=()) -> seqio.Task:
  if spec.name in seqio.TaskRegistry.names():
    raise UserError(f"there is a task {spec.name} already: choose another name")
  return seqio.TaskRegistry.add(
    spec.name,
    source=DatasetSpecSource(spec),
    preprocessors=[
      encode,
      seqio.CacheDatasetPlaceholder(required=False),
      *preprocessors,
    ],
    output_features=FEATURES,
    postprocess_fn=postprocess_fn,
    metric_fns=list(metric_fns),
    task_cls=SeededTask,
  )


def register_mixture(
  name: str, parts: Sequence[str] | Mapping[str, float]
) -> seqio.Mixture:
  """Registers a mixture of tasks.

  Args:
    name: of the mixture.
    parts: names of tasks, each with its rate; or the names alone: then they are mixed
      in the proportion of their tokens. seqio has that estimated from the sizes of the
      data sets, `prepare` counts them.

  Raises:
    UserError: there is such a name already, or no such task.
  """
  if name in [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]:
    raise UserError(f"there is a task or mixture {name} already: choose another name")
  known = list(seqio.TaskRegistry.names())
  for part in parts:
    if part not in known:
      near = difflib.get_close_matches(part, known, n=1, cutoff=0)
      raise UserError(
        f"mixture {name}: there is no task {part!r}. Did you mean {near[0]!r}?"
      )
  if isinstance(parts, Mapping):
    return seqio.MixtureRegistry.add(name, list(parts.items()))
  _by_tokens.add(name)
  return seqio.MixtureRegistry.add(name, list(parts), default_rate=_characters)


_by_tokens: set[str] = set()


def _characters(task: seqio.Task) -> float:
  """The rate of a task where tokens decide and aren't counted yet."""
  spec = task.source.spec
  return float(spec.size("train"))


def dataset_specs_of(name: str) -> list[tuple[DatasetSpec, float | None]]:
  """Returns the specs of a task or mixture, each with its rate.

  The rate is None where the mixture is one in the proportion of tokens.

  Raises:
    UserError: there is no such task or mixture, or it is not made of specs.
  """
  known = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
  if name not in known:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0)
    raise UserError(f"there is no task or mixture {name!r}. Did you mean {near[0]!r}?")
  provider = seqio.get_mixture_or_task(name)
  specs = []
  for task in seqio.get_subtasks(provider):
    if not isinstance(task.source, DatasetSpecSource):
      raise UserError(f"task {task.name} has no spec: register it with register_lplm")
    rate = 1.0
    if isinstance(provider, seqio.Mixture):
      rate = None if name in _by_tokens else provider.get_rate(task)
    specs.append((task.source.spec, rate))
  return specs


def texts(evaluator: seqio.Evaluator, feature: str = "inputs") -> list[str]:
  """Returns the texts of a feature of all examples of an evaluator of one task."""
  [task] = evaluator.eval_tasks
  examples = evaluator.cached_task_datasets[task.name].as_numpy_iterator()
  return [example[f"{feature}_pretokenized"].decode() for example in examples]


def predictions(rows: Sequence[np.ndarray]) -> list[tuple[int, np.ndarray]]:
  """Returns generated ids as a `predict_fn` of `seqio.Evaluator` has to return them.

  Args:
    rows: token ids int32 [n] of every example, in the order of the data set.

  Returns:
    Number and ids [N] of every example; the evaluator wants them of one length.
  """
  padded = np.full((len(rows), max(map(len, rows))), PAD_ID, np.int32)
  for row, ids in zip(padded, rows, strict=True):
    row[: len(ids)] = ids
  return list(enumerate(padded))


def _register_own() -> None:
  """Registers what this project trains on by default, and the public sets."""

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


_register_own()
