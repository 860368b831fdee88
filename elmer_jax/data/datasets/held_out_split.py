# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A validation split for data sets without one: items chosen by a hash of their text.

The choice depends neither on the order of the items nor on the other items. For pairs
only the source is hashed, so all pairs with the same source are in the same split.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets.dataset import DatasetSpec, Item, Kind, num_characters

# On average one item in HELD_OUT_ONE_IN is held out for validation.
HELD_OUT_ONE_IN = 50
# Minimum number of characters held out from the end of a single large document.
MIN_TAIL_CHARACTERS = 2000


def with_held_out_split(
  name: str,
  kind: Kind,
  read_all: Callable[[], Iterable[Item]],
  size: Callable[[], float],
) -> DatasetSpec:
  """Returns a data set with the splits "train" and "validation".

  If the hash selects no item or all, the item with the smallest hash is held out. If
  that is a document with more than a tenth of all the text, only its end is held out,
  so that even a single document gives validation text.

  Args:
    name: of the data set.
    kind: of the data set.
    read_all: returns all items, always in the same order.
    size: approximate number of characters of all items.
  """
  # Finding the fallback takes a pass over the items, so it is kept.
  fallback = functools.cache(lambda: _Fallback.find(read_all()))

  def read(split: str) -> Iterator[Item]:
    items = read_all()  # raises for missing data here, not at the first item
    if split not in ("train", "validation"):
      raise ValueError(f"{name} has no split {split!r}")
    return filter(None, (fallback().select(item, split) for item in items))

  def split_size(split: str) -> int:
    held_out = 1 / HELD_OUT_ONE_IN
    return math.ceil(size() * (held_out if split == "validation" else 1 - held_out))

  return DatasetSpec(name, kind, read, ("train", "validation"), split_size)


@dataclasses.dataclass(frozen=True)
class _Fallback:
  """The item that is held out if the hash selects none, or all.

  Attributes:
    smallest_hash: of all items; None if the hash selects some items.
    tail: number of characters to hold out from the end of that item; 0 for all.
  """

  smallest_hash: int | None = None
  tail: int = 0

  @classmethod
  def find(cls, items: Iterable[Item]) -> "_Fallback":
    smallest, total = None, 0
    hashes, selected = set(), set()  # at most two of each are needed
    for item in items:
      item_hash = _hash(item)
      selected.add(item_hash % HELD_OUT_ONE_IN == 0)
      if len(selected) == 2:
        return cls()
      total += num_characters(item)
      if smallest is None or item_hash < min(hashes):
        smallest = item
      hashes = {min(hashes | {item_hash}), max(hashes | {item_hash})}
    if isinstance(smallest, tuple) and len(hashes) == 1:
      raise UserError(
        "all pairs have the same source, so none can be held out for validation: name "
        "files with other pairs by --config.data.validation_files"
      )
    if not isinstance(smallest, str) or len(smallest) <= total / 10:
      return cls(min(hashes, default=None))
    tail = max(total // HELD_OUT_ONE_IN, MIN_TAIL_CHARACTERS)
    return cls(min(hashes), min(tail, len(smallest) // 2))

  def select(self, item: Item, split: str) -> Item | None:
    """Returns the part of an item that belongs to a split, None if there is none."""
    item_hash = _hash(item)
    is_validation = split == "validation"
    if item_hash == self.smallest_hash and self.tail:
      end = len(item) - self.tail
      # Cut after the last white space before the tail, so that no word is divided.
      cut = max(item.rfind(space, 0, end) for space in " \n") + 1 or end
      return item[cut:] if is_validation else item[:cut]
    held_out = item_hash % HELD_OUT_ONE_IN == 0
    if self.smallest_hash is not None:
      held_out = item_hash == self.smallest_hash
    return item if held_out == is_validation else None


def _hash(item: Item) -> int:
  text = item if isinstance(item, str) else item[0]
  digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
  return int.from_bytes(digest, "big")
