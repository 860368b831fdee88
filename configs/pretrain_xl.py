# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""24 + 24 layers of width 2048 (2.9e9 parameters), with the published batch.

    python -m elmer_jax.train --config=pretrain_xl --workdir=DIR \\
        --config.data.files='wikipedia/*.jsonl.zst,books/*.jsonl.zst' \\
        --config.data.vocabulary=FOLDER

FOLDER holds BART's vocab.json and merges.txt. Hardware: a v5e-256 or more; parameters
and optimizer state are sharded over all chips. There was no such run yet, so there is
no time and no score to expect; heads have the size of a TPU's matrix unit, 128, and the
learning rate is the base model's. configs/quickstart.py is a small sibling that runs on
a laptop.
"""

import runpy
from pathlib import Path


def get_config():
  base = runpy.run_path(str(Path(__file__).with_name("pretrain_base.py")))
  config = base["get_config"]()
  config.model.update({"encoder_layers": 24, "decoder_layers": 24, "d_model": 2048})
  config.model.update({"encoder_heads": 16, "decoder_heads": 16})
  config.model.update({"encoder_feed_forward": 8192, "decoder_feed_forward": 8192})
  config.mesh.update({"data": 1, "fsdp": -1})
  return config
