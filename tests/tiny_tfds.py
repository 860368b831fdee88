# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Writes small data sets as TFDS prepares them, without its builders and network."""

from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds


def write(root: Path, name: str, features: dict, splits: dict[str, list[dict]]) -> None:
  """Writes a data set, two files a split.

  Args:
    root: what TFDS_DATA_DIR names.
    name: NAME/VERSION or NAME/CONFIG/VERSION.
    features: of TFDS, by name.
    splits: examples by split.
  """
  folder = root / name
  folder.mkdir(parents=True)
  features = tfds.features.FeaturesDict(features)
  infos = []
  for split, rows in splits.items():
    template = tfds.core.ShardedFileTemplate(
      data_dir=folder,
      dataset_name=name.split("/")[0],
      split=split,
      filetype_suffix="tfrecord",
    )
    shards = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    size = 0
    for index, shard in enumerate(shards):
      path = template.sharded_filepath(shard_index=index, num_shards=len(shards))
      with tf.io.TFRecordWriter(str(path)) as writer:
        for row in shard:
          record = features.serialize_example(features.encode_example(row))
          writer.write(record)
          size += len(record)
    infos.append(
      tfds.core.SplitInfo(
        name=split,
        shard_lengths=list(map(len, shards)),
        num_bytes=size,
        filename_template=template,
      )
    )
  tfds.folder_dataset.write_metadata(
    data_dir=folder, features=features, split_infos=infos
  )
