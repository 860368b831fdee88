# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What each optimisation of one-pass decoding on CPUs gains, measured alone.

    .venv/bin/python benchmarks/cpu_tricks.py --batch_sizes=1
    .venv/bin/python benchmarks/cpu_tricks.py --batch_sizes=8 --target_lengths=32
    .venv/bin/python benchmarks/cpu_tricks.py --batch_sizes=8 --target_lengths=64

Each program lacks one optimisation, whose function is replaced here by a plain one. All
programs of a size take turns in one process. Base size, random weights; as in
`benchmarks/generate.py`, position tables have standard deviation 1 and soft exit's
projection is [I ; 0.3 I], so that a text has many tokens. EOS is never predicted.

The last line is JSON. `without` has, for each optimisation, the median over the rounds
of the time without it divided by the time with all of them: 1.05 means that it gains
5 %. `ids_equal` is the fraction of equal ids.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from elmer_jax.decoding import decoding_model, layerwise_model, one_pass
from elmer_jax.decoding.cpu import (
  bfloat16_argmax,
  blocked_attention,
  cross_attention,
)
from elmer_jax.model import elmer
from elmer_jax.model.attention import dot_product_attention
from elmer_jax.model.config import ModelConfig
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID

_BATCHES = flags.DEFINE_list("batch_sizes", ["1", "8"], "Texts at a time.")
_TARGETS = flags.DEFINE_list("target_lengths", ["32", "64"], "Tokens of each text.")
_SOURCE = flags.DEFINE_integer("source_length", 400, "Tokens of each source.", 4)
_EXITS = flags.DEFINE_list("exits", ["none", "soft"], "Exits to time.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed calls of each program.", 1)
_LAYERS = flags.DEFINE_integer("layers", 6, "Encoder and decoder layers.", 1)
_ONLY = flags.DEFINE_list("only", [], "Optimisations to leave out in turn; all.")

EOS_BIAS = -1e4
PREDICTION_WEIGHT = 0.3


def _prepare_stacked(config: ModelConfig, params: dict):
  """Arranges parameters, but stacks the arrays of all layers again."""
  arrays = _prepare(config, params).arrays
  for side in ("encoder", "decoder"):
    layers = arrays[side]["layers"]
    arrays[side]["layers"] = jax.tree.map(
      lambda *each: jnp.stack(each), *(layers[index] for index in sorted(layers))
    )
  return decoding_model.DecodingParams(arrays)


def _bind_stacked(config: ModelConfig, params) -> layerwise_model.LayerwiseModel:
  arrays = dict(params.arrays)
  for side, count in (
    ("encoder", config.encoder_layers),
    ("decoder", config.decoder_layers),
  ):
    stacked = arrays[side]["layers"]
    layers = {
      index: jax.tree.map(lambda leaf, index=index: leaf[index], stacked)
      for index in range(count)
    }
    arrays[side] = arrays[side] | {"layers": layers}
  return _bind(config, decoding_model.DecodingParams(arrays))


_prepare, _bind = decoding_model.prepare, decoding_model.bind

# (module, name, replacement) by optimisation
REPLACEMENTS = {
  "source_states": [(cross_attention, "states_are_cheaper", lambda *_, **__: False)],
  "blocked_attention": [
    (blocked_attention, "blocked_attention", dot_product_attention),
  ],
  "bfloat16_argmax": [(bfloat16_argmax, "is_supported", lambda: False)],
  "unstacked_layers": [
    (decoding_model, "prepare", _prepare_stacked),
    (decoding_model, "bind", _bind_stacked),
  ],
}


def main(argv: list[str]) -> None:
  del argv
  config = ModelConfig(
    dropout=0.0,
    soft_exit=True,
    encoder_layers=_LAYERS.value,
    decoder_layers=_LAYERS.value,
  )
  params = _params(config)
  names = _ONLY.value or list(REPLACEMENTS)
  has_rounded_table = bfloat16_argmax.is_supported()
  copies: dict[str, object] = {}  # prepared parameters, by optimisation
  rows = []
  for batch in map(int, _BATCHES.value):
    for length in map(int, _TARGETS.value):
      for exit in _EXITS.value:
        programs = {
          name: _program(config, params, copies, name, batch, length, exit)
          for name in ("all", *names)
        }
        rows.append(_measure(programs, batch, length, exit))
        print(json.dumps(rows[-1]), flush=True)
  report = {"jax": jax.__version__, "source": _SOURCE.value, "layers": _LAYERS.value}
  report |= {"rounds": _ROUNDS.value, "bfloat16_argmax": has_rounded_table}
  print(json.dumps(report | {"rows": rows}))


def _params(config: ModelConfig) -> dict:
  params = elmer.initialise(config, 0)
  rng = np.random.default_rng(0)
  for side in ("encoder", "decoder"):
    embedding = params[side]["embedding"]
    shape = embedding["positions"].shape
    embedding["positions"] = jnp.float32(rng.normal(size=shape))
  identity = jnp.eye(config.d_model)
  kernel = jnp.concatenate([identity, PREDICTION_WEIGHT * identity])
  params["soft_exit"]["kernel"] = kernel
  params["logits_bias"] = params["logits_bias"].at[EOS_ID].set(EOS_BIAS)
  return params


def _program(
  config: ModelConfig,
  params: dict,
  copies: dict,
  name: str,
  batch: int,
  length: int,
  exit: str,
) -> Callable[[], np.ndarray]:
  """Compiles a program without the optimisation `name`."""
  rng = np.random.default_rng(0)
  ids_BxS = rng.integers(4, 50000, (batch, _SOURCE.value)).astype(np.int32)
  ids_BxS[:, 0], ids_BxS[:, -1] = BOS_ID, EOS_ID
  replacements = REPLACEMENTS.get(name, [])
  with _replaced(replacements):
    if name not in copies:
      copies[name] = _shared(copies, decoding_model.prepare(config, params))
    prepared = copies[name]
    decode = {
      "none": one_pass.decode_without_exit,
      "soft": one_pass.decode_with_soft_exit,
    }[exit].__wrapped__
    program = jax.jit(lambda p, ids: decode(config, p, ids, length=length).ids)
    lowered = program.lower(prepared, ids_BxS)
    compiled = lowered.compile()
  return lambda: np.asarray(compiled(prepared, ids_BxS))


def _shared(copies: dict, prepared):
  """Returns the copy with the same names and shapes, if there is one."""

  def form(tree) -> tuple:
    return jax.tree.structure(tree), [leaf.shape for leaf in jax.tree.leaves(tree)]

  return next((c for c in copies.values() if form(c) == form(prepared)), prepared)


class _replaced:
  """Replaces functions, and forgets all programs traced with others."""

  def __init__(self, replacements: list[tuple]):
    self._patches = [mock.patch.object(*each) for each in replacements]

  def __enter__(self) -> None:
    self._forget()
    for patch in self._patches:
      patch.start()

  def __exit__(self, *_) -> None:
    for patch in self._patches:
      patch.stop()
    self._forget()

  def _forget(self) -> None:
    jax.clear_caches()
    decoding_model._abstract.cache_clear()


def _measure(programs: dict[str, Callable], batch: int, length: int, exit: str) -> dict:
  ids = {name: program() for name, program in programs.items()}  # warms up
  seconds: dict[str, list[float]] = {name: [] for name in programs}
  for _ in range(_ROUNDS.value):
    for name, program in programs.items():
      program()  # a program pays for what the one before it left in caches and heap
      start = time.perf_counter()
      program()
      seconds[name].append(time.perf_counter() - start)
  others = [name for name in programs if name != "all"]
  ratios = {
    name: [a / b for a, b in zip(seconds[name], seconds["all"], strict=True)]
    for name in others
  }
  return {
    "batch": batch,
    "target": length,
    "exit": exit,
    "milliseconds": {
      name: round(1e3 * statistics.median(times), 1) for name, times in seconds.items()
    },
    "without": {name: round(statistics.median(ratios[name]), 3) for name in others},
    "ids_equal": {
      name: round(float((ids[name] == ids["all"]).mean()), 4) for name in others
    },
  }


if __name__ == "__main__":
  app.run(main)
