# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What exits save: static depths, a gate, dropped positions, of one trained run.

    python -m elmer_jax.calibrate --config=CONFIG --workdir=W
    python benchmarks/exits.py --config=CONFIG --workdir=W

All rows are of the same weights and test texts. Times are of ids to ids: each timed
text goes through all programs in turn, several rounds, and counts with its median;
`ms` is the mean over texts. `gain` is against all layers, `static` against the fastest
static depth that loses no more than 0.3 ROUGE-L against the row. `bound` is what the
matrix products of the layers that ran would allow: the gain if all else were free. The
last line is JSON.
"""

import json
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import ml_collections
import numpy as np
import texts_of_run
from absl import flags

from elmer_jax.commands import runner
from elmer_jax.core import compile_cache
from elmer_jax.core.errors import UserError
from elmer_jax.decoding import decoding_model, one_pass
from elmer_jax.decoding.gate import exit_quality, gated_decoding
from elmer_jax.decoding.gate.gated_decoding import Gate
from elmer_jax.generation import api
from elmer_jax.metrics import text_metrics
from elmer_jax.model import depth, flops
from elmer_jax.model.config import ModelConfig

_TEXTS = flags.DEFINE_integer("texts", 1000, "Test texts that are scored, at most.", 2)
_TIMED = flags.DEFINE_integer("timed", 40, "Texts (or batches) that are timed.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed calls with each of them.", 1)
_BATCHES = flags.DEFINE_list("batch_sizes", ["1", "8"], "Texts at a time, for times.")
_TRIMS = flags.DEFINE_list("trims", ["1"], "Layers behind which positions are dropped.")

_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # thresholds beside the calibrated one
_EQUAL = 0.3  # ROUGE-L that is no difference


# Source ids [B, S] → ids [B, T] and the layers that each text ran through [B].
Way = Callable[[np.ndarray], tuple[jax.Array, jax.Array]]
Rows = dict[str, dict[str, float]]


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  compile_cache.cache_programs()
  model = api.load(workdir)
  if model.gate is None:
    raise UserError(f"{workdir} has no gate: run python -m elmer_jax.calibrate first")
  sources_NxS, targets_NxT = texts_of_run.read(config, workdir, model, _TEXTS.value)
  ways = _ways(model)
  outputs = {name: _decode_all(way, sources_NxS) for name, way in ways.items()}
  full_NxT = outputs[_depth(model.config.decoder_layers)][0]
  rows = {
    name: _scores(model, targets_NxT, full_NxT, *found)
    for name, found in outputs.items()
  }
  for size in map(int, _BATCHES.value):
    times = _times(ways, sources_NxS, size)
    full = times[_depth(model.config.decoder_layers)]
    for name, ms in times.items():
      rows[name] |= {f"ms_{size}": ms, f"gain_{size}": full / ms}
      rivals = [
        times[_depth(layers)]
        for layers in range(1, model.config.decoder_layers + 1)
        if rows[_depth(layers)]["rougeL"] >= rows[name]["rougeL"] - _EQUAL
      ]
      rows[name][f"static_{size}"] = min(rivals, default=full) / ms
  for name, row in rows.items():
    print(name.ljust(24), *(f"{key} {value:7.2f} " for key, value in row.items()))
  rounded = {
    name: {key: round(value, 3) for key, value in row.items()}
    for name, row in rows.items()
  }
  stated = model.gate.stated | {
    "threshold": model.gate.threshold,
    "trim": model.gate.trim,
  }
  print(json.dumps({"jax": jax.__version__, "gate": stated, "rows": rounded}))


def _depth(layers: int) -> str:
  return f"depth {layers}"


def _ways(model: api.Model) -> dict[str, Way]:
  """Returns the rows of the table, by name."""
  config, params, length = model.config, model.params, model.target_length
  gate, threshold, _, _ = model.gate

  def static(layers: int, config: ModelConfig = config) -> Way:
    sizes, cut = depth.cut(config, params, layers)
    prepared = decoding_model.prepare(sizes, cut)

    def decode(ids_BxS):
      found = one_pass.decode(sizes, prepared, ids_BxS, length=length, exit="none")
      return found.ids, np.full(len(ids_BxS), layers)

    return decode

  def hard(ids_BxS):
    """A head behind every layer: tokens leave, but all layers run."""
    found = one_pass.decode(
      config,
      model.prepared,
      ids_BxS,
      length=length,
      exit="hard",
      threshold=model.exit_threshold,
    )
    return found.ids, np.full(len(ids_BxS), config.decoder_layers)

  def gated_by(gate: Gate, threshold: float, trim: int) -> Way:
    settings = {"length": length, "trim": trim}
    within = models[gated_decoding.layers_of(gate)]

    def decode(ids_BxS):
      found = gated_decoding.decode(
        within.config, within.prepared, gate, threshold, ids_BxS, **settings
      )
      return found.ids, found.layers

    return decode

  gates = range(2, gated_decoding.layers_of(gate) + 1)
  models = {layers: model.at_depth(layers) for layers in gates}
  every = range(1, config.decoder_layers + 1)
  ways = {_depth(layers): static(layers) for layers in every}
  rounded = model.in_dtype("bfloat16").config
  ways[f"{_depth(config.decoder_layers)}, bfloat16"] = static(
    config.decoder_layers, rounded
  )
  thresholds = {f"gate {share:g}": share for share in _SHARES}
  thresholds[f"gate {threshold:.3f} calibrated"] = threshold
  ways |= {name: gated_by(gate, t, 0) for name, t in thresholds.items()}
  ways[f"hard exit {model.exit_threshold:g}"] = hard
  ways["gate closed"] = gated_by(gate, 1.0, 0)
  for trim in map(int, _TRIMS.value):
    dropped = f", dropped at {trim}"
    ways |= {
      _depth(layers) + dropped: gated_by(gated_decoding.cut(gate, layers), 1.0, trim)
      for layers in gates
    }
    ways |= {name + dropped: gated_by(gate, t, trim) for name, t in thresholds.items()}
  return ways


def _decode_all(way: Way, sources_NxS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  found = [
    way(ids_BxS)
    for ids_BxS in np.split(sources_NxS, len(sources_NxS) // texts_of_run.BATCH)
  ]
  return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def _scores(
  model: api.Model, targets_NxT, full_NxT, ids_NxT, layers_N
) -> dict[str, float]:
  """Returns quality, mean layers, and what the arithmetic allows at best."""

  def texts(ids_NxT) -> list[str]:
    return [exit_quality.text(model.vocabulary, ids_T) for ids_T in ids_NxT]

  rouge = text_metrics.rouge(texts(targets_NxT), texts(ids_NxT))
  same = map(exit_quality.agreement, ids_NxT, full_NxT)
  full = flops.of_example(
    model.config, "last_layer", model.source_length, model.target_length
  )
  share_N = layers_N / model.config.decoder_layers
  cost_N = full.encoder + full.head + share_N * (full.memory + full.decoder)
  return {
    "rougeL": rouge["rougeL"],
    "rouge2": rouge["rouge2"],
    "agreement": statistics.fmean(same),
    "layers": float(layers_N.mean()),
    "bound": float(full.forward / cost_N.mean()),
  }


def _times(
  ways: dict[str, Way], sources_NxS: np.ndarray, size: int
) -> dict[str, float]:
  """Returns milliseconds a batch: of each batch the median, then the mean over them."""
  count = min(_TIMED.value, len(sources_NxS) // size)
  inputs = np.split(sources_NxS[: count * size], count)
  medians: dict[str, list[float]] = {name: [] for name in ways}
  for way in ways.values():
    jax.block_until_ready(way(inputs[0])[0])
  for ids_BxS in map(jax.device_put, inputs):
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS.value):
      for name, way in ways.items():
        start = time.perf_counter()
        jax.block_until_ready(way(ids_BxS)[0])
        seconds[name].append(time.perf_counter() - start)
    for name, times in seconds.items():
      medians[name].append(1e3 * statistics.median(times))
  return {name: statistics.fmean(values) for name, values in medians.items()}


if __name__ == "__main__":
  runner.run(main)
