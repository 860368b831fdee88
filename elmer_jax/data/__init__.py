# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""From text to batches: text → ids → cache on disk → corrupted example → batch.

`readers` opens the user's files; `datasets` specifies what can be trained on.
`preparation` tokenizes datasets into caches (`cache`), whose paths `prepared_data`
knows. `loader` reads examples from caches by index, corrupts them (`corruption`) and
makes batch t as a function of the seed and t. `tasks` registers the datasets with
seqio; together with `seqio_preprocessors` and `seqio_vocabulary` it contains the only
modules here that import TensorFlow at import time.
"""
