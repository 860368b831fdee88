# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""seqio preprocessors: they give the same ids as the cache and the loader."""

import contextlib
import contextvars
import functools
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from elmer_jax.core.errors import UserError
from elmer_jax.data import loader
from elmer_jax.data.cache.windows import Boundaries, split_into_windows
from elmer_jax.data.corruption import Corruption
from elmer_jax.data.seqio_vocabulary import VOCABULARY
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID

_boundaries_of = functools.cache(Boundaries.from_vocabulary)
_corruption_of = functools.cache(Corruption.from_vocabulary)

_seed: contextvars.ContextVar[int] = contextvars.ContextVar("seed", default=0)


@contextlib.contextmanager
def use_seed(seed: int | None) -> Iterator[None]:
  """Sets the seed of `corrupt` for datasets built in this context; None counts as 0."""
  token = _seed.set(seed or 0)
  try:
    yield
  finally:
    _seed.reset(token)


def encode(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Encodes every text {name: string} as {name: int32 [n]}.

  The texts of pairs are kept as `inputs_pretokenized` and `targets_pretokenized`, as is
  usual in seqio, for postprocessors and metrics.
  """

  def encode_example(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    encoded = {name: VOCABULARY.encode_tf(text) for name, text in example.items()}
    if "source" in example:
      encoded["inputs_pretokenized"] = example["source"]
      encoded["targets_pretokenized"] = example["target"]
    return encoded

  return dataset.map(encode_example, num_parallel_calls=tf.data.AUTOTUNE)


def cut_windows(
  dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None
) -> tf.data.Dataset:
  """Splits {"text": int32 [n]} into windows {"text": int32 [m]}, as the cache does.

  A window has at most min(inputs - 2, targets - 1) ids, so that BOS and EOS fit.
  """
  lengths = _check_lengths(sequence_length)
  length = min(lengths["inputs"] - 2, lengths["targets"] - 1)

  def window_lengths(ids: np.ndarray) -> np.ndarray:
    boundaries = _boundaries_of(VOCABULARY.vocabulary)
    windows = split_into_windows(ids, boundaries, length)
    return np.array([len(window) for window in windows], np.int64)

  def split(example: dict[str, tf.Tensor]) -> tf.data.Dataset:
    sizes = tf.numpy_function(window_lengths, [example["text"]], tf.int64)
    sizes = tf.ensure_shape(sizes, [None])
    windows = tf.RaggedTensor.from_row_lengths(example["text"], sizes)
    return tf.data.Dataset.from_tensor_slices({"text": windows})

  def to_dense(example: dict[str, tf.RaggedTensor]) -> dict[str, tf.Tensor]:
    return {"text": tf.ensure_shape(tf.convert_to_tensor(example["text"]), [None])}

  return dataset.flat_map(split).map(to_dense)


def corrupt(
  dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None
) -> tf.data.Dataset:
  """Makes `inputs` and `targets` of windows {"text": int32 [n]}, as the loader does."""
  source_length = _check_lengths(sequence_length)["inputs"]
  seed = _seed.get()

  def make_example(index: int, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    corruption = _corruption_of(VOCABULARY.vocabulary)
    return loader.make_lplm_example(window, seed, int(index), corruption, source_length)

  def corrupt_example(index: tf.Tensor, example: dict[str, tf.Tensor]):
    inputs, targets = tf.numpy_function(
      make_example, [index, example["text"]], [tf.int32, tf.int32]
    )
    return {
      "inputs": tf.ensure_shape(inputs, [None]),
      "targets": tf.ensure_shape(targets, [None]),
    }

  return dataset.enumerate().map(corrupt_example, num_parallel_calls=tf.data.AUTOTUNE)


def cut_pairs(
  dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None
) -> tf.data.Dataset:
  """Makes `inputs` and `targets` of encoded pairs, truncated to fit BOS and EOS."""
  lengths = _check_lengths(sequence_length)

  def cut_example(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    example = dict(example)
    source = example.pop("source")[: lengths["inputs"] - 2]
    target = example.pop("target")[: lengths["targets"] - 1]
    inputs = tf.concat([[BOS_ID], source, [EOS_ID]], axis=0)
    return example | {"inputs": inputs, "targets": tf.concat([target, [EOS_ID]], 0)}

  return dataset.map(cut_example, num_parallel_calls=tf.data.AUTOTUNE)


def _check_lengths(sequence_length: Mapping[str, int] | None) -> Mapping[str, int]:
  if sequence_length is None or not {"inputs", "targets"} <= sequence_length.keys():
    raise UserError(
      "the tasks of elmer_jax need sequence_length={'inputs': …, 'targets': …}"
    )
  return sequence_length
