# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What a data set is: a name, a kind, and a function that reads a split.

`data.tasks` registers a `DatasetSpec` as a seqio task; `data.cache` tokenizes it
without seqio.
"""

import dataclasses
from collections.abc import Callable, Iterator

from elmer_jax.data.readers.file_format import Kind as Kind

# One document or pair: a text, or a source text and a target text.
Item = str | tuple[str, str]

# Separates the parts of a source text, such as an answer and its context.
SEPARATOR = " [SEP] "


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
  """A data set as text.

  Attributes:
    name: of the seqio task and of the cache folder.
    kind: "lplm" for whole documents, which are cut into windows and corrupted, or
      "pairs" of source and target.
    read: yields the items of a split, always in the same order.
    splits: the splits that `read` accepts.
    size: approximate number of characters of a split, where that is cheap to compute.
      Used to estimate the time left and the rates of a seqio mixture.
    from_files: for a public data set that can also be read from files: returns the
      spec that reads them, given names and patterns ('a.txt,b/*.jsonl.zst').
  """

  name: str
  kind: Kind
  read: Callable[[str], Iterator[Item]]
  splits: tuple[str, ...] = ("train", "validation", "test")
  size: Callable[[str], int] | None = None
  from_files: Callable[[str], "DatasetSpec"] | None = None


def files_flag(name: str) -> str:
  """Returns how a user names the files of a data set, for error messages."""
  return f"--config.data.files='{name}=FILES' (in seqio tasks.use_files)"


def num_characters(item: Item) -> int:
  """Returns the length of an item in characters, both sides of a pair together."""
  return len(item) if isinstance(item, str) else sum(map(len, item))
