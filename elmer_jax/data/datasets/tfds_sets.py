# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets that TFDS has prepared on this machine: found and read, never downloaded.

They lie under TFDS's own folder, ~/tensorflow_datasets or what the environment variable
TFDS_DATA_DIR names, as NAME/VERSION or NAME/CONFIG/VERSION. TensorFlow is imported when
a set is opened.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Iterator

from etils import epath

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets.dataset import DatasetSpec, Item

Example = dict  # as TFDS gives it: bytes, arrays and dicts of them


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A set that TFDS builds.

  Attributes:
    name: in TFDS.
    configs: a regular expression for the configurations that will do; of several that
      are prepared the last by name is taken, as these begin with a date. Empty: of a
      set without configurations.
    build: what TFDS calls the configuration that it is built with; empty: none.
    files: what to say of files instead, for a set that can be read from files too.
  """

  name: str
  configs: str = ""
  build: str = ""
  files: str = ""

  def examples(self, split: str) -> Iterator[Example]:
    """Returns the examples of a split, file after file, in the same order every time.

    Raises:
      UserError: the set isn't prepared on this machine, or has no such split.
    """
    builder = self._open(split)

    def read() -> Iterator[Example]:
      import tensorflow_datasets as tfds

      one_by_one = tfds.ReadConfig(
        interleave_cycle_length=1, try_autocache=False, add_tfds_id=False
      )
      return builder.as_dataset(
        split=split, shuffle_files=False, read_config=one_by_one
      ).as_numpy_iterator()

    return read()

  def size(self, split: str) -> int:
    """Returns the bytes of a split, about its characters."""
    return int(self._open(split).info.splits[split].num_bytes)

  def folder(self) -> epath.Path | None:
    """Returns where the set lies, None where it isn't prepared."""
    pattern = "*/*/dataset_info.json" if self.configs else "*/dataset_info.json"
    versions = [
      path.parent
      for path in (_root() / self.name).glob(pattern)
      # TFDS builds in folders of other names.
      if re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", path.parent.name)
      and (not self.configs or re.fullmatch(self.configs, path.parent.parent.name))
    ]
    return max(versions, key=_by_version, default=None)

  def _open(self, split: str):
    folder = self.folder()
    if folder is None:
      config = f" --config {self.build}" if self.build else ""
      files = f", or {self.files}" if self.files else ""
      raise UserError(
        f"TFDS has no prepared {self.name} in {_root()}: run `tfds build {self.name}"
        f"{config}` with a network (TFDS_DATA_DIR names another folder){files}"
      )
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    if split not in builder.info.splits:
      has = ", ".join(builder.info.splits)
      raise UserError(f"{folder} has no split {split!r}; it has {has}")
    return builder


def pairs_dataset(
  name: str, prepared: Prepared, pair: Callable[[Example], tuple[str, str] | None]
) -> DatasetSpec:
  """Returns a spec of pairs for a set with the three splits.

  Args:
    name: of the task.
    prepared: the set.
    pair: makes source and target of an example; None: the example is left out.
  """

  def read(split: str) -> Iterator[Item]:
    return filter(None, map(pair, prepared.examples(split)))

  return DatasetSpec(name, "pairs", read, size=prepared.size)


def _root() -> epath.Path:
  # TFDS itself reads the variable once, when it is imported.
  folder = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  return epath.Path(folder).expanduser()


def _by_version(folder: epath.Path) -> tuple:
  numbers = tuple(map(int, re.findall("[0-9]+", folder.name)))
  return folder.parent.name, numbers
