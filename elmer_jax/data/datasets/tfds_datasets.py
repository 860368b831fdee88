# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets that TFDS has prepared on this machine; nothing is downloaded.

TFDS keeps them as NAME/VERSION or NAME/CONFIG/VERSION in ~/tensorflow_datasets or the
folder of the environment variable TFDS_DATA_DIR. TensorFlow is imported when a data set
is opened.
"""

import dataclasses
import os
import re
from collections.abc import Iterator

from etils import epath

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets.dataset import files_flag

Example = dict  # as TFDS yields it: bytes, arrays and dicts of them


@dataclasses.dataclass(frozen=True)
class TfdsDataset:
  """A data set that TFDS can build.

  Attributes:
    name: in TFDS.
    configs: a regular expression for the accepted configurations. If several are
      prepared, the last by name is used, as their names begin with a date. Empty for a
      data set without configurations.
    build: the configuration to build, for error messages; may be empty.
    task: name of the data set here if it can also be read from files; may be empty.
  """

  name: str
  configs: str = ""
  build: str = ""
  task: str = ""

  def examples(self, split: str) -> Iterator[Example]:
    """Returns the examples of a split, always in the same order.

    Raises:
      UserError: the data set isn't prepared on this machine, or has no such split.
    """
    builder = self._open(split)

    def read() -> Iterator[Example]:
      import tensorflow_datasets as tfds

      sequential = tfds.ReadConfig(
        interleave_cycle_length=1, try_autocache=False, add_tfds_id=False
      )
      return builder.as_dataset(
        split=split, shuffle_files=False, read_config=sequential
      ).as_numpy_iterator()

    return read()

  def size(self, split: str) -> int:
    """Returns the bytes of a split, which approximate its characters."""
    return int(self._open(split).info.splits[split].num_bytes)

  def folder(self) -> epath.Path | None:
    """Returns the folder of the newest version, None if none is prepared."""
    pattern = "*/*/dataset_info.json" if self.configs else "*/dataset_info.json"
    versions = [
      path.parent
      for path in (_root() / self.name).glob(pattern)
      # While TFDS builds a data set, its folder has another name.
      if re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", path.parent.name)
      and (not self.configs or re.fullmatch(self.configs, path.parent.parent.name))
    ]
    return max(versions, key=_version, default=None)

  def _open(self, split: str):
    folder = self.folder()
    if folder is None:
      config = f" --config {self.build}" if self.build else ""
      files = f", or name files: {files_flag(self.task)}" if self.task else ""
      raise UserError(
        f"TFDS has no prepared {self.name} in {_root()}: run `tfds build {self.name}"
        f"{config}` with network access (TFDS_DATA_DIR sets another folder){files}"
      )
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    if split not in builder.info.splits:
      has = ", ".join(builder.info.splits)
      raise UserError(f"{folder} has no split {split!r}; it has {has}")
    return builder


def _root() -> epath.Path:
  # TFDS itself reads the variable only once, when it is imported.
  folder = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  return epath.Path(folder).expanduser()


def _version(folder: epath.Path) -> tuple:
  numbers = tuple(map(int, re.findall("[0-9]+", folder.name)))
  return folder.parent.name, numbers
