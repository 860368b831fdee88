# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Byte-level BPE in BART's id order: lossless conversion between text and ids.

Ids: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, then bytes, merges and the filler tokens
of published vocabularies, and `<mask>` last.

Hugging Face `tokenizers` learns the merges; `tiktoken`, several times faster, applies
them. tiktoken numbers tokens by merge priority (rank); a table maps ranks to BART's
ids. Both libraries give the same ids because every token is made by exactly one merge
of two earlier tokens, which is checked on loading.
"""

import functools
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from absl import logging

from elmer_jax.core.errors import UserError, printable
from elmer_jax.tokenizer import vocabulary_files
from elmer_jax.tokenizer.special_ids import MASK_TOKEN, SPECIAL_TOKENS
from elmer_jax.tokenizer.vocabulary_files import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE

# Merges are learned from this many characters at the start of the corpus: far more than
# a few thousand merges need, and a bound on time and memory.
TRAINING_CHARACTERS = 32 * 2**20

# The longest text passed to the encoder in one call. A run of a million spaces
# overflows the stack of the regular expression, and a whole book as one list of Python
# integers takes gigabytes.
BLOCK_CHARACTERS = 2**16

# In training, longer runs of non-space characters are divided, and longer ones of white
# space shortened: the time to learn merges grows with the square of the longest word.
TRAINING_WORD_CHARACTERS = 128

# GPT-2's division into words, before merges: contractions; letters, digits or other
# signs with the space before them; white space, except its last character before a
# word, which belongs to that word. The possessive "++" never backtracks.
_WORDS = (
  r"'(?:ll|re|ve|d|m|s|t)"
  r"| ?\p{L}++| ?\p{N}++| ?[^\p{L}\p{N}\s]++"
  r"|\s+(?!\S)|\s"
)


class Vocabulary:
  """A byte-level BPE vocabulary. Immutable; can be pickled for worker processes.

  Attributes:
    size: V, the number of ids, without any padding that a model adds.
    mask_id: V - 1.
    digest: sha256 (hexadecimal) of the content of both files, however formatted.
    word_starts: bool [V], the token begins with a space or a newline and therefore
      starts a new word.
    full_stops: bool [V], the token is ".", which ends a sentence in BART's corruption.
  """

  def __init__(
    self,
    ids: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    origin: str = "vocabulary",
  ):
    """Builds the tables.

    Args:
      ids: ids by token; tokens are written in GPT-2's printable byte alphabet.
      merges: pairs of tokens, by priority.
      origin: folder or other name of this vocabulary, for error messages.

    Raises:
      UserError: ids and merges are not a byte-level BPE in BART's id order.
    """
    vocabulary_files.check(ids, merges, origin)
    self._ids = dict(ids)
    self._merges = [tuple(pair) for pair in merges]
    self.size = len(self._ids)
    self.mask_id = self.size - 1

    by_rank = BYTE_TO_CHARACTER + [first + second for first, second in self._merges]
    self._id_of_rank = np.array([self._ids[token] for token in by_rank], np.int32)
    # Special and filler tokens represent no text: they have no bytes.
    self._bytes = [b""] * self.size
    for token, token_id in zip(by_rank, self._id_of_rank.tolist(), strict=True):
      self._bytes[token_id] = bytes(CHARACTER_TO_BYTE[c] for c in token)
    self.word_starts = _read_only([b[:1] in (b" ", b"\n") for b in self._bytes])
    self.full_stops = _read_only([b == b"." for b in self._bytes])

  def __reduce__(self):
    return Vocabulary, (self._ids, self._merges)

  @functools.cached_property
  def _encoder(self):
    import tiktoken

    return tiktoken.Encoding(
      "elmer_jax",
      pat_str=_WORDS,
      mergeable_ranks={
        self._bytes[token_id]: rank
        for rank, token_id in enumerate(self._id_of_rank.tolist())
      },
      # Never produced, but `encode_to_numpy` is slow without any special token.
      special_tokens={"<none>": len(self._id_of_rank)},
    )

  @functools.cached_property
  def digest(self) -> str:
    vocab = vocabulary_files.vocab_text(self._ids)
    merges = vocabulary_files.merges_text(self._merges)
    return hashlib.sha256((vocab + merges).encode()).hexdigest()

  @classmethod
  def load(cls, directory: str | os.PathLike) -> "Vocabulary":
    """Reads `vocab.json` and `merges.txt`.

    Raises:
      UserError: a file is missing, damaged, or not in BART's id order.
    """
    ids, merges = vocabulary_files.read(pathlib.Path(directory))
    return cls(ids, merges, str(directory))

  @classmethod
  def train(
    cls, texts: Iterable[str], size: int, directory: str | os.PathLike
  ) -> "Vocabulary":
    """Learns a vocabulary from texts and saves it. Deterministic.

    Args:
      texts: the corpus; its first TRAINING_CHARACTERS are used.
      size: number of ids, including the special tokens. If the texts are too few for
        this many merges, the vocabulary is smaller, with a warning.
      directory: where `vocab.json` and `merges.txt` are written.

    Raises:
      UserError: `size` leaves no room for a merge, or the directory can't be written.
    """
    smallest = len(SPECIAL_TOKENS) + 256 + 1
    if size <= smallest:
      raise UserError(
        f"a vocabulary of {size} ids is too small: {smallest} are taken by bytes "
        "and special tokens; use a larger size, such as 4096"
      )
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
      vocab_size=size - 1,
      min_frequency=2,
      special_tokens=list(SPECIAL_TOKENS),
      initial_alphabet=sorted(CHARACTER_TO_BYTE),
      show_progress=False,
    )
    tokenizer.train_from_iterator(_training_blocks(texts), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    ids = model["vocab"]
    ids[MASK_TOKEN] = len(ids)
    vocabulary = cls(ids, model["merges"])
    if vocabulary.size < size:
      logging.warning(
        "The texts gave a vocabulary of %d ids instead of %d.", vocabulary.size, size
      )
    vocabulary.save(directory)
    return vocabulary

  def save(self, directory: str | os.PathLike) -> None:
    """Writes `vocab.json` and `merges.txt`, each atomically.

    Raises:
      UserError: the directory can't be created or written to.
    """
    vocabulary_files.write(pathlib.Path(directory), self._ids, self._merges)

  def encode(self, text: str) -> np.ndarray:
    """Returns the ids of a text, int32 [n], without BOS and EOS.

    Names of special tokens in the text are encoded as ordinary text. Lone surrogates,
    which UTF-8 can't represent, become U+FFFD.
    """
    ranks = [self._encode_block(block) for block in _blocks(text)]
    return self._id_of_rank[ranks[0] if len(ranks) == 1 else np.concatenate(ranks)]

  def _encode_block(self, block: str) -> np.ndarray:
    try:
      return self._encoder.encode_to_numpy(block, disallowed_special=())
    except UnicodeEncodeError:
      block = block.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
      return self._encoder.encode_to_numpy(block, disallowed_special=())

  def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
    """Returns `encode` of each text. Single-threaded: use processes for a corpus."""
    return [self.encode(text) for text in texts]

  def decode(self, ids: Sequence[int] | np.ndarray) -> str:
    """Returns the text of ids [n] without special tokens; invalid UTF-8 is U+FFFD.

    Raises:
      ValueError: an id is outside [0, V).
    """
    return b"".join(self._bytes[i] for i in self._checked(ids)).decode(
      "utf-8", errors="replace"
    )

  def pieces(self, ids: Sequence[int] | np.ndarray) -> list[str]:
    """Returns a printable text for each of ids [n], for figures.

    Spaces are kept. Special tokens are given by name, control characters as escapes
    (`\\n`), and bytes that are part of a character as `\\xf0`.

    Raises:
      ValueError: an id is outside [0, V).
    """
    return [self._printable[i] for i in self._checked(ids)]

  @functools.cached_property
  def _printable(self) -> list[str]:
    printable = [_escape(b) for b in self._bytes]
    for token, token_id in self._ids.items():
      if not self._bytes[token_id]:
        printable[token_id] = token
    return printable

  def _checked(self, ids: Sequence[int] | np.ndarray) -> list[int]:
    ids = np.asarray(ids, np.int64).reshape(-1)
    if ids.size and (ids.min() < 0 or ids.max() >= self.size):
      raise ValueError(
        f"ids from {ids.min()} to {ids.max()} don't fit a vocabulary of {self.size}"
      )
    return ids.tolist()


def _training_blocks(texts: Iterable[str]) -> Iterator[str]:
  """Yields the start of a corpus in blocks, without long words and white space.

  Long runs of non-spaces are divided, and long runs of white space shortened.
  """
  long_run = re.compile(rf"\S{{{TRAINING_WORD_CHARACTERS}}}")
  long_space = re.compile(rf"(\s{{{TRAINING_WORD_CHARACTERS}}})\s+")
  remaining = TRAINING_CHARACTERS
  for text in texts:
    for block in _blocks(text[:remaining]):
      yield long_space.sub(r"\1", long_run.sub(r"\g<0>\n", block))
    remaining -= len(text)
    if remaining <= 0:
      return


def _blocks(text: str) -> Iterator[str]:
  """Cuts a text into blocks of at most BLOCK_CHARACTERS.

  A cut between a non-space character and a space or newline changes no id, because the
  encoder's words end there anyway. A block without such a place is cut at its end: the
  ids may then differ from those of the whole text, the decoded text does not.
  """
  start = 0
  while len(text) - start > BLOCK_CHARACTERS:
    end = start + BLOCK_CHARACTERS
    cut = _last_word_end(text, start, end) or end
    yield text[start:cut]
    start = cut
  yield text[start:]


def _last_word_end(text: str, start: int, end: int) -> int | None:
  """Returns the last position in (start, end) of white space that follows a word."""
  for space in " \n":
    cut = text.rfind(space, start + 1, end)
    while cut > 0 and text[cut - 1].isspace():
      cut = text.rfind(space, start + 1, cut)
    if cut > 0:
      return cut
  return None


def _escape(token: bytes) -> str:
  return printable(token.decode("utf-8", errors="backslashreplace"))


def _read_only(values: list[bool]) -> np.ndarray:
  array = np.array(values, np.bool_)
  array.setflags(write=False)
  return array
