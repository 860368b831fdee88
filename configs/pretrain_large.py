# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The shape of BART-large, with the recipe of the published base model.

    python -m elmer_jax.train --config=pretrain_large --workdir=DIR \\
        --config.data.files='wikipedia/*.jsonl.zst,books/*.jsonl.zst' \\
        --config.data.vocabulary=FOLDER

FOLDER holds BART's vocab.json and merges.txt. Hardware: a pod, or nodes of GPUs;
`python -m elmer_jax.plan` tells whether the step fits. There was no such run yet, so
there is no time and no score to expect; the learning rate is the base model's.
configs/quickstart.py is a small sibling that runs on a laptop.
"""

import runpy
from pathlib import Path


def get_config():
  base = runpy.run_path(str(Path(__file__).with_name("pretrain_base.py")))
  config = base["get_config"]()
  config.model.update({"encoder_layers": 12, "decoder_layers": 12, "d_model": 1024})
  config.model.update({"encoder_heads": 16, "decoder_heads": 16})
  config.model.update({"encoder_feed_forward": 4096, "decoder_feed_forward": 4096})
  return config
