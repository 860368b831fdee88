# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What can be trained on: a name, a kind, and where its texts come from.

A recipe is what a seqio task of this project is made of (`tasks`), and what `cache`
turns into ids without seqio.

A data set without a validation split of its own gives up some of its items for one,
chosen by a hash of their text (`held_out_recipe`).
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from elmer_jax.data.readers import documents_and_pairs

# One document or pair: a text, or a source text and a target text.
Item = str | tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Recipe:
  """A data set before tokens.

  Attributes:
    name: of the seqio task and of the folder of the cache.
    kind: "lplm", whole documents that are cut into windows and corrupted, or "pairs",
      a source and a target each.
    read: yields the items of a split, in the same order every time.
    splits: what `read` accepts.
    size: about how many characters a split has, where that is cheap to know: the time
      left is estimated from it, and in seqio the rates of a mixture.
    from_files: for a data set that files may hold: the recipe that reads these files
      ('a.txt,b/*.jsonl.zst') instead.
  """

  name: str
  kind: Literal["lplm", "pairs"]
  read: Callable[[str], Iterator[Item]]
  splits: tuple[str, ...] = ("train", "validation", "test")
  size: Callable[[str], int] | None = None
  from_files: Callable[[str], "Recipe"] | None = None


# Stands between the parts of a source, such as an answer and its context.
SEPARATOR = " [SEP] "

# Of the items of a data set without splits about one in so many is kept for validation.
HELD_OUT = 50
# Where a single document would hold out more than a tenth of everything, only its end
# is held out: this many characters, or one in HELD_OUT of all if that is more.
HELD_OUT_TAIL = 2000


def text_recipe(name: str, files: str) -> Recipe:
  """Returns an LPLM recipe for text files, divided as `held_out_recipe` says.

  Args:
    name: of the task.
    files: comma-separated names and patterns, see `sources.expand_files`.

  Raises:
    UserError: a file is missing, empty or not text.
  """
  return _files_recipe(name, "lplm", files, documents_and_pairs.read_documents)


def pairs_recipe(name: str, files: str) -> Recipe:
  """Returns a recipe for the user's own pairs of source and target (JSONL or TSV).

  Raises:
    UserError: a file is missing, empty or not text.
  """
  return _files_recipe(name, "pairs", files, documents_and_pairs.read_pairs)


def distilled_recipe(recipe: Recipe, files: str) -> Recipe:
  """Returns a recipe of pairs whose training split is that of other files.

  Raises:
    UserError: a file is missing, empty or not text.
  """
  paths = tuple(documents_and_pairs.expand_files(files))

  def read(split: str) -> Iterator[Item]:
    return (
      documents_and_pairs.read_pairs(paths) if split == "train" else recipe.read(split)
    )

  def size(split: str) -> int:
    return (
      documents_and_pairs.size_of(paths) if split == "train" else recipe.size(split)
    )

  return dataclasses.replace(recipe, read=read, size=size if recipe.size else None)


def characters(item: Item) -> int:
  """Returns how long an item is, both sides of a pair together."""
  return len(item) if isinstance(item, str) else sum(map(len, item))


def held_out_recipe(
  name: str,
  kind: Literal["lplm", "pairs"],
  read_all: Callable[[], Iterable[Item]],
  size: Callable[[], float],
) -> Recipe:
  """Returns a recipe that holds out validation items of what has no splits.

  Which items those are is told by a hash of their text, about one in HELD_OUT, so that
  it depends neither on their order nor on what else there is; of pairs by their source
  alone, so that a source that occurs twice stands on one side. Where no item falls in
  by itself, the one with the smallest hash does; if it is a document of more than a
  tenth of all the text, only its end. So there is validation text even when all there
  is is one document.

  Args:
    name: of the task.
    kind: of the recipe.
    read_all: gives all items, in the same order every time.
    size: about how many characters they have together.
  """
  # Only a read finds out whether the hash alone holds anything out: once is enough.
  fallback = functools.cache(lambda: _Fallback.find(read_all()))

  def read(split: str) -> Iterator[Item]:
    items = read_all()  # what is missing is said at once, not at the first item
    if split not in ("train", "validation"):
      raise ValueError(f"{name} has no split {split!r}")
    return filter(None, (fallback().part(item, split) for item in items))

  def size_of(split: str) -> int:
    return math.ceil(
      size() * (1 / HELD_OUT if split == "validation" else 1 - 1 / HELD_OUT)
    )

  return Recipe(name, kind, read, ("train", "validation"), size_of)


def _files_recipe(name, kind, files, reader) -> Recipe:
  paths = tuple(documents_and_pairs.expand_files(files))
  return held_out_recipe(
    name, kind, lambda: reader(paths), lambda: documents_and_pairs.size_of(paths)
  )


@dataclasses.dataclass(frozen=True)
class _Fallback:
  """What is held out where no item is by its own hash.

  Attributes:
    smallest: the smallest hash of all, or None where a hash holds an item out.
    tail: characters at the end of that item that are held out; 0: all of it.
  """

  smallest: int | None = None
  tail: int = 0

  @classmethod
  def find(cls, items: Iterable[Item]) -> "_Fallback":
    smallest, total = None, 0
    for item in items:
      key = _hash(item)
      if key % HELD_OUT == 0:
        return cls()
      total += characters(item)
      if smallest is None or key < _hash(smallest):
        smallest = item
    if smallest is None or not isinstance(smallest, str):
      return cls(smallest and _hash(smallest))
    tail = 0
    if len(smallest) > total / 10:
      tail = min(max(total // HELD_OUT, HELD_OUT_TAIL), len(smallest) // 2)
    return cls(_hash(smallest), tail)

  def part(self, item: Item, split: str) -> Item | None:
    """Returns what `split` gets of an item: all, nothing, or one side of a cut."""
    key = _hash(item)
    wants_held_out = split == "validation"
    if key == self.smallest and self.tail:
      before = len(item) - self.tail
      # At the last white space before the tail, so that no word is cut.
      cut = max(map(item.rfind, " \n", (0, 0), (before, before))) + 1 or before
      return item[cut:] if wants_held_out else item[:cut]
    held_out = key % HELD_OUT == 0 or key == self.smallest
    return item if held_out == wants_held_out else None


def _hash(item: Item) -> int:
  text = item if isinstance(item, str) else item[0]
  digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
  return int.from_bytes(digest, "big")
