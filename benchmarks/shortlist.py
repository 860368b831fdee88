# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""How much soft exit's shortlist changes, of one trained run, and what it saves.

    python benchmarks/shortlist.py --config=CONFIG --workdir=W [--sizes=8,64,1024]

Beside all tokens (size 0) stand lists of some sizes, for the same test texts: in
percent, the tokens of the texts that stay the same, the texts that do, and the guesses
below the last layer; ROUGE-L; milliseconds a call, one text at a time and eight, from
ids to ids, the sizes in turn, medians. The last line is JSON.
"""

import json
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import ml_collections
import numpy as np
import texts_of_run
from absl import flags

from elmer_jax.commands import runner
from elmer_jax.core import compile_cache
from elmer_jax.decoding import one_pass
from elmer_jax.decoding.gate import exit_quality
from elmer_jax.generation import api
from elmer_jax.metrics import text_metrics

_SIZES = flags.DEFINE_list("sizes", ["8", "16", "64", "256", "1024"], "Tokens listed.")
_TEXTS = flags.DEFINE_integer("texts", 1000, "Test texts, at most.", 20)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Timed calls of each size.", 1)
_BATCHES = (1, 8)


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  compile_cache.cache_programs()
  model = api.load(workdir)
  sizes = [0, *map(int, _SIZES.value)]
  for size in sizes[1:]:
    exit = one_pass.default_exit(model.objective)
    one_pass.check_shortlist(size, exit, model.config.vocabulary_size)
  sources_NxS, targets_NxT = texts_of_run.read(config, workdir, model, _TEXTS.value)
  said = {size: _every_layer(model, sources_NxS, size) for size in sizes}
  rows = {size: _row(model, targets_NxT, said[size], said[0]) for size in sizes}
  for batch in _BATCHES:
    for size, ms in _times(model, sources_NxS, sizes, batch).items():
      rows[size][f"ms_{batch}"] = ms
  for size, row in rows.items():
    print(f"{size:6}", *(f"{key} {value:7.2f} " for key, value in row.items()))
  rounded = {
    size: {key: round(value, 3) for key, value in row.items()}
    for size, row in rows.items()
  }
  report = {"vocabulary": model.config.vocabulary_size, "texts": len(sources_NxS)}
  print(json.dumps(report | {"jax": jax.__version__, "rows": rounded}))


def _decode(model: api.Model, ids_BxS, size: int, details: bool) -> one_pass.Decoded:
  return one_pass.decode(
    model.config,
    model.prepared,
    ids_BxS,
    length=model.target_length,
    exit="soft",
    shortlist=size,
    details=details,
  )


def _every_layer(model: api.Model, sources_NxS: np.ndarray, size: int) -> np.ndarray:
  """Returns the predictions of all layers [L, N, T]."""
  parts = np.split(sources_NxS, len(sources_NxS) // texts_of_run.BATCH)
  found = [_decode(model, ids_BxS, size, details=True).by_layer for ids_BxS in parts]
  return np.concatenate(found, axis=1)


def _row(model: api.Model, targets_NxT, found_LxNxT, all_LxNxT) -> dict[str, float]:
  def texts(ids_NxT) -> list[str]:
    return [exit_quality.text(model.vocabulary, ids_T) for ids_T in ids_NxT]

  last_NxT, expected_NxT = found_LxNxT[-1], all_LxNxT[-1]
  same = list(map(exit_quality.agreement, last_NxT, expected_NxT))
  written = texts(last_NxT)
  lengths_N = np.array([one_pass.text_length(ids_T) for ids_T in expected_NxT])
  in_text_NxT = np.arange(expected_NxT.shape[1])[None] < lengths_N[:, None]
  below_LxN = (found_LxNxT == all_LxNxT)[:-1, in_text_NxT]
  return {
    "tokens": statistics.fmean(same),
    "texts": 100 * float(np.mean([share == 100 for share in same])),
    "guesses": 100 * float(below_LxN.mean()) if below_LxN.size else 100.0,
    "rougeL": text_metrics.rouge(texts(targets_NxT), written)["rougeL"],
    "distinct": 100 * len(set(written)) / len(written),
  }


def _times(
  model: api.Model, sources_NxS: np.ndarray, sizes: list[int], batch: int
) -> dict[int, float]:
  """Returns milliseconds a call of so many texts, by size."""
  seconds: dict[int, list[float]] = {size: [] for size in sizes}
  for turn in range(_ROUNDS.value + 1):
    first = turn * batch % (len(sources_NxS) - batch + 1)
    ids_BxS = jax.device_put(sources_NxS[first : first + batch])
    for size in sizes:
      start = time.perf_counter()
      jax.block_until_ready(_decode(model, ids_BxS, size, details=False).ids)
      seconds[size].append(time.perf_counter() - start)
  # The first call compiles.
  return {size: 1e3 * statistics.median(times[1:]) for size, times in seconds.items()}


if __name__ == "__main__":
  runner.run(main)
