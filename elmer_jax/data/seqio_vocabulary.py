# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The vocabulary of the seqio tasks, chosen after the tasks are registered."""

import functools
import os
from collections.abc import Sequence

import numpy as np
import seqio
import tensorflow as tf

from elmer_jax.core.errors import UserError
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID

VOCABULARY_VARIABLE = "ELMER_JAX_VOCABULARY"

_vocabulary_directory: str | None = None
_load = functools.cache(Vocabulary.load)


def use_vocabulary(directory: str | os.PathLike) -> None:
  """Sets the vocabulary of the tasks in this process."""
  global _vocabulary_directory
  _vocabulary_directory = os.fspath(directory)


class SeqioVocabulary(seqio.Vocabulary):
  """A `Vocabulary` with seqio's interface; its files are read when it is first used.

  The folder is the one given to `use_vocabulary`, or else the environment variable
  ELMER_JAX_VOCABULARY.
  """

  @property
  def vocabulary(self) -> Vocabulary:
    directory = _vocabulary_directory or os.environ.get(VOCABULARY_VARIABLE)
    if not directory:
      raise UserError(
        "no vocabulary is chosen: call elmer_jax.data.tasks.use_vocabulary(directory) "
        f"or set {VOCABULARY_VARIABLE} to a folder with vocab.json and merges.txt"
      )
    return _load(directory)

  @property
  def bos_id(self) -> int:
    return BOS_ID

  @property
  def pad_id(self) -> int:
    return PAD_ID

  @property
  def eos_id(self) -> int:
    return EOS_ID

  @property
  def unk_id(self) -> int:
    return UNK_ID

  @property
  def _base_vocab_size(self) -> int:
    return self.vocabulary.size

  def _encode(self, s: str) -> list[int]:
    return self.vocabulary.encode(s).tolist()

  def _decode(self, ids: Sequence[int]) -> str:
    return self.vocabulary.decode(ids)

  def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
    def encode(text: bytes | np.ndarray) -> np.ndarray:
      # TensorFlow passes bytes in a graph, an array in eager mode.
      text = text.item() if isinstance(text, np.ndarray) else text
      return self.vocabulary.encode(tf.compat.as_text(text))

    return tf.ensure_shape(tf.numpy_function(encode, [s], tf.int32), [None])

  def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
    def decode(rows: np.ndarray) -> np.ndarray:
      texts = [self.vocabulary.decode(row) for row in rows.reshape(-1, rows.shape[-1])]
      texts = [text.encode("utf-8") for text in texts]
      return np.array(texts, object).reshape(rows.shape[:-1])

    texts = tf.numpy_function(decode, [ids], tf.string)
    return tf.ensure_shape(texts, ids.shape[:-1])


VOCABULARY = SeqioVocabulary()
FEATURES = {
  name: seqio.Feature(VOCABULARY, add_eos=True, dtype=tf.int32)
  for name in ("inputs", "targets")
}
