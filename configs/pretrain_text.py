# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Pre-trains on your own text.

    python -m elmer_jax.train --config=pretrain_text --workdir=DIR \\
        --config.data.files='a.txt,b/*.jsonl.zst'

Plain text (documents separated by blank lines, or one a line), or JSONL, CSV or Parquet
with a field `text`; text may be compressed (.gz, .zst). A vocabulary is trained on the
text unless `--config.data.vocabulary=FOLDER` names one (vocab.json, merges.txt). Sized
for a laptop or one small GPU: from minutes to an hour or two. configs/finetune_pairs.py
continues.
"""

from elmer_jax import configuration


def get_config():
  config = configuration.default()
  config.data.task = "text_lplm"
  config.data.update(
    {"vocabulary_size": 8192, "source_length": 128, "target_length": 128}
  )
  config.data.update({"batch_size": 16, "num_workers": 2})
  config.model.update({"encoder_layers": 4, "decoder_layers": 4, "d_model": 256})
  config.model.update({"encoder_heads": 4, "decoder_heads": 4})
  config.model.update({"encoder_feed_forward": 1024, "decoder_feed_forward": 1024})
  config.model.update({"norm": "pre", "dropout": 0.0, "positions": 512})
  config.model.init_stddev = config.model.d_model**-0.5
  config.optimizer.update({"learning_rate": 1e-3, "warmup_steps": 100})
  config.train.update({"steps": 2000, "log_every": 50, "eval_every": 500})
  config.checkpoint.every = 500
  return config
