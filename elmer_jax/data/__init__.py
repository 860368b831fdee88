# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The way of the data: text → ids → corrupted example → global batch.

`sources` reads the user's files (`text_files` opens them) and `pydocs` the documents
that every Python installation brings; `vocabulary` turns text into ids and back;
`windows` cuts the ids of a document into training windows. `cache_writer` stores them
as `records` of a `cache` and tells its `progress`; `prepared` knows where the caches of
a run lie. `loader` reads them by index, corrupts them (`corruption`) and makes batch t
as a function of the seed and t. `spec` names what can be trained on, `public` the
well-known sets among it (in `corpora`, `summaries`, `squad`, `personachat`, read from
files or from `tfds_sets`). `tasks` shows the same to seqio, with the `metrics` that
score it: the only module here, beside `task_vocabulary`, that loads TensorFlow as it is
imported.
"""
