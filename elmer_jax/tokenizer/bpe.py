# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Byte-level BPE in BART's id order: any text to ids and back, without loss.

Ids: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, then bytes, merges and any filler that a
published vocabulary has, `<mask>` last. On disk a vocabulary is the pair `vocab.json`
(token → id) and `merges.txt` (one merge a line, by priority) that GPT-2 and BART use.

Two libraries share the work. Hugging Face `tokenizers` learns the merges; `tiktoken`
applies them, several times faster. tiktoken numbers tokens by merge priority, so a
table takes its ranks to BART's ids. Both give the same ids because each token is made
by exactly one merge of two earlier tokens, which is checked on loading.
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

from elmer_jax.core.errors import UserError
from elmer_jax.tokenizer.special_ids import MASK_TOKEN, SPECIAL_TOKENS

# Training looks at this much text from the start of what it is given: far more than
# a few thousand merges need, and a bound on time and memory for a corpus of any size.
TRAINING_CHARACTERS = 32 * 2**20

# The longest text that is handed to the encoder at once. A run of a million spaces
# overflows the regular expression's stack, and a whole book as one list of Python
# integers takes gigabytes; both are harmless at this size.
BLOCK_CHARACTERS = 2**16

# In training a longer run of non-space characters counts as several words: merges are
# learned from words, and the time grows with the length of the longest ones.
TRAINING_WORD_CHARACTERS = 128

# GPT-2's division into words, before merges: contractions, then letters, digits or
# other signs with the space in front of them, then white space, of which the last
# character before a word is left to that word. The possessive "++" never backtracks.
_WORDS = (
  r"'(?:ll|re|ve|d|m|s|t)"
  r"| ?\p{L}++| ?\p{N}++| ?[^\p{L}\p{N}\s]++"
  r"|\s+(?!\S)|\s"
)


class Vocabulary:
  """A byte-level BPE vocabulary; immutable, and it pickles for worker processes.

  Attributes:
    size: number of ids; the true one, without any padding that a model adds.
    mask_id: `size - 1`.
    digest: sha256 (hexadecimal) of the content of both files, however formatted.
    word_starts: bool [size], the token begins with a space or a newline, so that a
      new word starts with it.
    full_stops: bool [size], the token is ".", after which BART's sentences end.
  """

  def __init__(
    self,
    ids: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    where: str = "vocabulary",
  ):
    """Builds the tables.

    Args:
      ids: token → id; tokens are spelled in GPT-2's printable byte alphabet.
      merges: pairs of tokens, by priority.
      where: what error messages call this vocabulary.

    Raises:
      UserError: the two don't make a byte-level BPE in BART's id order.
    """
    _check(ids, merges, where)
    self._ids = dict(ids)
    self._merges = [tuple(pair) for pair in merges]
    self.size = len(self._ids)
    self.mask_id = self.size - 1

    by_rank = [_BYTE_TO_CHARACTER[byte] for byte in range(256)]
    by_rank += [first + second for first, second in self._merges]
    self._id_of_rank = np.array([self._ids[token] for token in by_rank], np.int32)
    # Specials and fillers are not text: they have no bytes.
    self._bytes = [b""] * self.size
    for token, token_id in zip(by_rank, self._id_of_rank.tolist(), strict=True):
      self._bytes[token_id] = bytes(_CHARACTER_TO_BYTE[c] for c in token)
    self.word_starts = _frozen([b[:1] in (b" ", b"\n") for b in self._bytes])
    self.full_stops = _frozen([b == b"." for b in self._bytes])

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
      # Never made, but without any the fast way out (`encode_to_numpy`) is slow.
      special_tokens={"<none>": len(self._id_of_rank)},
    )

  @functools.cached_property
  def digest(self) -> str:
    content = _vocab_text(self._ids) + _merges_text(self._merges)
    return hashlib.sha256(content.encode()).hexdigest()

  @classmethod
  def load(cls, directory: str | os.PathLike) -> "Vocabulary":
    """Reads `vocab.json` and `merges.txt`.

    Raises:
      UserError: a file is missing, damaged, or not in BART's id order.
    """
    vocab_path = pathlib.Path(directory) / "vocab.json"
    merges_path = pathlib.Path(directory) / "merges.txt"
    try:
      ids = json.loads(_read(vocab_path))
    except ValueError as error:
      raise UserError(f"{vocab_path} is damaged: not JSON ({error})") from None
    merges = []
    for number, line in enumerate(_read(merges_path).split("\n"), start=1):
      if not line or (number == 1 and line.startswith("#version")):
        continue
      pair = tuple(line.split(" "))
      if len(pair) != 2 or not all(pair):
        raise UserError(
          f"{merges_path}, line {number} is damaged: expected two tokens, "
          f"found {line[:40]!r}"
        )
      merges.append(pair)
    return cls(ids, merges, where=str(directory))

  @classmethod
  def train(
    cls, texts: Iterable[str], size: int, directory: str | os.PathLike
  ) -> "Vocabulary":
    """Learns a vocabulary from texts and saves it; same texts, same files.

    Args:
      texts: the corpus; the first TRAINING_CHARACTERS of it are read.
      size: number of ids, specials and the mask included. Fewer come out, with a
        warning, when the texts are too few for so many merges.
      directory: where `vocab.json` and `merges.txt` are written.

    Raises:
      UserError: `size` leaves no room for a merge.
    """
    smallest = len(SPECIAL_TOKENS) + 256 + 1
    if size <= smallest:
      raise UserError(
        f"a vocabulary of {size} ids is too small: {smallest} are taken by bytes "
        "and specials; give a larger one, such as 4096"
      )
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
      vocab_size=size - 1,
      min_frequency=2,
      special_tokens=list(SPECIAL_TOKENS),
      initial_alphabet=sorted(_CHARACTER_TO_BYTE),
      show_progress=False,
    )
    tokenizer.train_from_iterator(_training_texts(texts), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    ids = model["vocab"]
    ids[MASK_TOKEN] = len(ids)
    vocabulary = cls(ids, [tuple(pair) for pair in model["merges"]])
    if vocabulary.size < size:
      logging.warning(
        "The texts gave a vocabulary of %d ids instead of %d.", vocabulary.size, size
      )
    vocabulary.save(directory)
    return vocabulary

  def save(self, directory: str | os.PathLike) -> None:
    """Writes `vocab.json` and `merges.txt`, each whole or not at all."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    contents = {
      "merges.txt": _merges_text(self._merges),
      "vocab.json": _vocab_text(self._ids),
    }
    for name, content in contents.items():
      temporary = directory / f".{name}.{os.getpid()}"
      temporary.write_text(content, encoding="utf-8", newline="\n")
      temporary.replace(directory / name)

  def encode(self, text: str) -> np.ndarray:
    """Ids of a text, int32 [n], without BOS and EOS.

    Names of specials in the text are ordinary text. Lone surrogates, which no UTF-8
    can hold, become U+FFFD.
    """
    ranks = [self._ranks(block) for block in _blocks(text)]
    return self._id_of_rank[ranks[0] if len(ranks) == 1 else np.concatenate(ranks)]

  def _ranks(self, block: str) -> np.ndarray:
    try:
      return self._encoder.encode_to_numpy(block, disallowed_special=())
    except UnicodeEncodeError:
      block = block.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
      return self._encoder.encode_to_numpy(block, disallowed_special=())

  def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
    """`encode` of each text. One thread: processes share out a corpus better."""
    return [self.encode(text) for text in texts]

  def decode(self, ids: Sequence[int] | np.ndarray) -> str:
    """The text of ids [n]; specials are dropped, invalid UTF-8 becomes U+FFFD.

    Raises:
      ValueError: an id outside [0, size).
    """
    return b"".join(self._bytes[i] for i in self._listed(ids)).decode(
      "utf-8", errors="replace"
    )

  def pieces(self, ids: Sequence[int] | np.ndarray) -> list[str]:
    """A printable text for each of ids [n], for pictures.

    Spaces stay. Specials go by their names, control characters as escapes (`\\n`), and
    the bytes of a character that is spread over several tokens as `\\xf0`.
    """
    return [self._printable[i] for i in self._listed(ids)]

  @functools.cached_property
  def _printable(self) -> list[str]:
    printable = [_escaped(b) for b in self._bytes]
    for token, token_id in self._ids.items():
      if not self._bytes[token_id]:
        printable[token_id] = token
    return printable

  def _listed(self, ids: Sequence[int] | np.ndarray) -> list[int]:
    ids = np.asarray(ids, np.int64).reshape(-1)
    if ids.size and (ids.min() < 0 or ids.max() >= self.size):
      raise ValueError(
        f"ids from {ids.min()} to {ids.max()} don't fit a vocabulary of {self.size}"
      )
    return ids.tolist()


def _byte_alphabet() -> list[str]:
  """GPT-2's printable character for each byte value.

  Visible Latin-1 characters stand for themselves, the other bytes, in order, for the
  characters from U+0100 on: a space is "Ġ", a newline "Ċ".
  """
  visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
  hidden = [byte for byte in range(256) if byte not in visible]
  return [
    chr(byte if byte in visible else 0x100 + hidden.index(byte)) for byte in range(256)
  ]


_BYTE_TO_CHARACTER = _byte_alphabet()
_CHARACTER_TO_BYTE = {c: byte for byte, c in enumerate(_BYTE_TO_CHARACTER)}


def _check(ids: object, merges: Sequence[tuple[str, str]], where: str) -> None:
  """Raises UserError unless ids and merges are a byte-level BPE in BART's order."""
  if not isinstance(ids, dict) or not all(type(i) is int for i in ids.values()):
    raise UserError(f"{where}: the vocabulary is damaged: not a map of tokens to ids")
  if sorted(ids.values()) != list(range(len(ids))):
    raise UserError(
      f"{where}: the vocabulary is damaged: its {len(ids)} ids are not 0 to "
      f"{len(ids) - 1}, each once"
    )
  expected = {token: i for i, token in enumerate(SPECIAL_TOKENS)}
  expected[MASK_TOKEN] = len(ids) - 1
  for token, token_id in expected.items():
    if ids.get(token) != token_id:
      raise UserError(
        f"{where}: the vocabulary is not in BART's order: {token} should have id "
        f"{token_id}, not {ids.get(token)}"
      )
  known = set(_BYTE_TO_CHARACTER)
  for number, (first, second) in enumerate(merges, start=1):
    if first not in known or second not in known:
      raise UserError(
        f"{where}: merge {number} is damaged: {first!r} or {second!r} is not made "
        "by an earlier merge"
      )
    if first + second in known:
      raise UserError(f"{where}: merge {number} makes {first + second!r} once more")
    known.add(first + second)
  missing = known - ids.keys()
  if missing:
    raise UserError(
      f"{where}: vocab.json lacks {len(missing)} tokens that bytes or merges.txt "
      f"make, such as {min(missing)!r}; are the files of two vocabularies mixed?"
    )


def _read(path: pathlib.Path) -> str:
  try:
    return path.read_text(encoding="utf-8")
  except FileNotFoundError:
    raise UserError(
      f"{path} is missing: a vocabulary is a folder with vocab.json and merges.txt"
    ) from None
  except UnicodeDecodeError as error:
    raise UserError(f"{path} is damaged: not UTF-8 ({error.reason})") from None
  except OSError as error:
    raise UserError(f"{path} can't be read: {error.strerror}") from None


def _vocab_text(ids: Mapping[str, int]) -> str:
  by_id = dict(sorted(ids.items(), key=lambda item: item[1]))
  return json.dumps(by_id, ensure_ascii=False) + "\n"


def _merges_text(merges: Sequence[tuple[str, str]]) -> str:
  lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges)]
  return "\n".join(lines) + "\n"


def _training_texts(texts: Iterable[str]) -> Iterator[str]:
  """The start of a corpus in blocks, long runs of non-space characters divided."""
  long_run = re.compile(rf"\S{{{TRAINING_WORD_CHARACTERS}}}")
  left = TRAINING_CHARACTERS
  for text in texts:
    for block in _blocks(text[:left]):
      yield long_run.sub(r"\g<0>\n", block)
    left -= len(text)
    if left <= 0:
      return


def _blocks(text: str) -> Iterator[str]:
  """Cuts a text into blocks of at most BLOCK_CHARACTERS.

  A cut between a non-space character and a space or newline changes no id, because
  the words of the encoder end there anyway. A block without such a place is cut at
  its end: the ids then may differ from those of the whole, the decoded text does not.
  """
  start = 0
  while len(text) - start > BLOCK_CHARACTERS:
    end = start + BLOCK_CHARACTERS
    cut = _last_word_end(text, start, end)
    yield text[start : cut or end]
    start = cut or end
  yield text[start:]


def _last_word_end(text: str, start: int, end: int) -> int | None:
  """The last position in (start, end) of a space or newline that follows a word."""
  for space in " \n":
    cut = text.rfind(space, start + 1, end)
    while cut > 0 and text[cut - 1].isspace():
      cut = text.rfind(space, start + 1, cut)
    if cut > 0:
      return cut
  return None


def _escaped(token: bytes) -> str:
  text = token.decode("utf-8", errors="backslashreplace")
  return "".join(
    c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
  )


def _frozen(values: list[bool]) -> np.ndarray:
  array = np.array(values, np.bool_)
  array.setflags(write=False)
  return array
