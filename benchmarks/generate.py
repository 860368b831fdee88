# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""How long a text takes: ours against Hugging Face BART, with the same weights.

    bash launch/install.sh benchmarks
    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \\
    .venv/bin/python benchmarks/generate.py [--batch_sizes=1,8] [--target_lengths=32,64]

Base size, random weights, EOS barred so that every text has its full length. With
position tables of standard deviation 1, and W = [I ; 0.3 I] for soft exit, a text has
many tokens, and layers and guesses change them. The programs take turns, so that a slow
minute of the machine slows all of them; the figures are medians. Hugging Face's has a
process of its own. Tokenisation is not included. Each runs on a GPU where it sees one.
The last line is JSON: milliseconds a batch, how many times as long Hugging Face's
greedy search takes, and the share of the ids that are those they should be: greedy's
are Hugging Face's, and one pass gives those of the plain program (layers in a scan, the
head in chunks). Approximate are those in bfloat16, and those of soft exit from a
shortlist: random layers, unlike trained ones, say things which no layer below has
thought of.
"""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from elmer_jax.checkpoints.huggingface import bart_names
from elmer_jax.decoding import (
  autoregressive,
  decoding_model,
  off_ramps,
  one_pass,
)
from elmer_jax.decoding.decoding_model import DecodingParams
from elmer_jax.decoding.incremental import Search
from elmer_jax.model.config import ModelConfig
from elmer_jax.tokenizer.special_ids import BOS_ID, EOS_ID

_BATCHES = flags.DEFINE_list("batch_sizes", ["1", "8"], "Texts at a time.")
_TARGETS = flags.DEFINE_list("target_lengths", ["32", "64"], "Tokens of each text.")
_SOURCE = flags.DEFINE_integer("source_length", 400, "Tokens of each source.", 4)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed calls of each program.", 1)
_THREADS = flags.DEFINE_integer("threads", 2, "PyTorch's; JAX takes all cores.", 1)
_BEAMS = flags.DEFINE_bool("beams", False, "Time beam search with 4 beams as well.")

BARRED = -1e4  # EOS's entry of `final_logits_bias`
NEVER_SURE = 0.0  # hard exit's threshold: nobody leaves, and the work is the same
GUESS_WEIGHT = 0.3  # of a guess beside the state that it is handed upward with
SHORTLIST = 1024  # tokens that soft exit guesses from where it has a shortlist


def main(argv: list[str]) -> None:
  del argv
  theirs = Theirs(_THREADS.value)
  weights = _weights(theirs)
  rows = []
  for batch in map(int, _BATCHES.value):
    for length in map(int, _TARGETS.value):
      programs, references = _programs(theirs, weights, _sources(batch), length)
      rows.append(_measure(programs, references, batch, length))
      print(json.dumps(rows[-1]), flush=True)
  versions = {"jax": jax.__version__} | theirs.versions
  devices = {"ours": jax.default_backend(), "hf": theirs.device}
  report = {"devices": devices, "versions": versions, "source": _SOURCE.value}
  print(json.dumps(report | {"rows": rows}))


class Theirs:
  """Hugging Face BART at base size with random weights, in another process."""

  def __init__(self, threads: int):
    context = multiprocessing.get_context("spawn")
    self._pipe, end = context.Pipe()
    context.Process(target=_hugging_face, args=(end, threads), daemon=True).start()
    self.tensors, self.device, self.versions = self._pipe.recv()

  def generate(self, ids_BxS: np.ndarray, beams: int, length: int) -> np.ndarray:
    """Returns ids [B, length]. Passing them to and fro takes well below 1 ms."""
    self._pipe.send((ids_BxS, beams, length))
    return self._pipe.recv()


def _hugging_face(pipe: Connection, threads: int) -> None:
  import torch
  import transformers

  torch.set_num_threads(threads)
  torch.manual_seed(0)
  device = "cuda" if torch.cuda.is_available() else "cpu"
  sizes = {"encoder_layers": 6, "decoder_layers": 6}
  sizes |= {"encoder_attention_heads": 12, "decoder_attention_heads": 12}
  sizes |= {"encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072, "d_model": 768}
  config = transformers.BartConfig(**sizes, forced_eos_token_id=None)
  model = transformers.BartForConditionalGeneration(config).eval()
  model.final_logits_bias[0, EOS_ID] = BARRED
  for side in (model.model.encoder, model.model.decoder):
    torch.nn.init.normal_(side.embed_positions.weight)
  tensors = {name: value.numpy() for name, value in model.state_dict().items()}
  versions = {module.__name__: module.__version__ for module in (torch, transformers)}
  pipe.send((tensors, device, versions))
  model = model.to(device)
  with torch.inference_mode(), contextlib.suppress(EOFError):  # at the end
    while True:
      ids_BxS, beams, length = pipe.recv()
      settings = {"num_beams": beams, "max_new_tokens": length, "do_sample": False}
      found = model.generate(torch.from_numpy(ids_BxS).to(device), **settings)
      pipe.send(found[:, 1:].cpu().numpy())


class Weights(NamedTuple):
  """Ours, by configuration: plain, and arranged for decoding."""

  plain: ModelConfig
  soft: ModelConfig
  params: dict[ModelConfig, dict]
  prepared: dict[ModelConfig, DecodingParams]  # also in bfloat16


def _weights(theirs: Theirs) -> Weights:
  keep = np.eye(768, dtype=np.float32)
  projection = np.hstack([keep, GUESS_WEIGHT * keep])
  tensors = theirs.tensors | {bart_names.PROJECTION: projection}

  def params_of(config: ModelConfig) -> dict:
    return jax.tree.map(jnp.asarray, bart_names.from_bart(tensors.__getitem__, config))

  plain, soft = (ModelConfig(dropout=0.0, soft_exit=has) for has in (False, True))
  params = {config: params_of(config) for config in (plain, soft)}
  prepared = {
    form: decoding_model.prepare(form, params[config])
    for config in (plain, soft)
    for form in (config, _rounded(config))
  }
  return Weights(plain, soft, params, prepared)


def _rounded(config: ModelConfig) -> ModelConfig:
  return dataclasses.replace(config, dtype="bfloat16")


def _sources(batch: int) -> np.ndarray:
  rng = np.random.default_rng(0)
  ids_BxS = rng.integers(4, 50000, (batch, _SOURCE.value), dtype=np.int64)
  ids_BxS[:, 0], ids_BxS[:, -1] = BOS_ID, EOS_ID
  return ids_BxS


def _programs(
  theirs: Theirs, weights: Weights, ids_BxS: np.ndarray, length: int
) -> tuple[dict, dict]:
  """Returns what to time, and what gives the ids to expect, by name.

  Each is a function that returns token ids [B, length].
  """
  plain, soft, params, prepared = weights
  rounded = {config: _rounded(config) for config in (plain, soft)}
  source_BxS = ids_BxS.astype(np.int32)

  def hugging_face(beams: int):
    return theirs.generate(ids_BxS, beams, length)

  def write(beams: int):
    search = Search(beams=beams, forced_bos=False, forced_eos=False)
    found = autoregressive.decode(
      plain, prepared[plain], source_BxS, length=length, search=search
    )
    return np.asarray(found.ids[:, 0])

  def one(config, exit, shortlist=0):
    found = one_pass.decode(
      config,
      prepared[config],
      source_BxS,
      length=length,
      exit=exit,
      threshold=NEVER_SURE,
      shortlist=shortlist,
    )
    return np.asarray(found.ids)

  def every_layer(config, params, exit):
    inputs = off_ramps.Inputs(source_BxS, None, None, None)
    top = (config.decoder_layers - 1,)
    found = off_ramps.predictions(
      config, params, inputs, length=length, exit=exit, layers=top
    )
    return np.asarray(found.token_ids[0])

  programs = {
    "hf_greedy": lambda: hugging_face(1),
    "greedy": lambda: write(1),
    "none": lambda: one(plain, "none"),
    "soft": lambda: one(soft, "soft"),
    "soft_shortlist": lambda: one(soft, "soft", SHORTLIST),
    "hard": lambda: one(plain, "hard"),
    "none_bfloat16": lambda: one(rounded[plain], "none"),
    "soft_bfloat16": lambda: one(rounded[soft], "soft"),
    "soft_shortlist_bfloat16": lambda: one(rounded[soft], "soft", SHORTLIST),
  }
  if _BEAMS.value:
    programs |= {"hf_beam_4": lambda: hugging_face(4), "beam_4": lambda: write(4)}
  references = {
    "greedy": lambda: hugging_face(1),
    "none": lambda: every_layer(plain, params[plain], "none"),
    "soft": lambda: every_layer(soft, params[soft], "soft"),
    "hard": lambda: every_layer(plain, params[plain], "none"),
  }
  references["soft_shortlist"] = references["soft"]
  references |= {
    f"{name}_bfloat16": references[name] for name in ("none", "soft", "soft_shortlist")
  }
  return programs, references


def _measure(
  programs: dict[str, Callable],
  references: dict[str, Callable],
  batch: int,
  length: int,
) -> dict:
  outputs = {name: program() for name, program in programs.items()}  # and warms up
  for name, ids_BxT in outputs.items():
    assert ids_BxT.shape == (batch, length), (name, ids_BxT.shape)
  seconds: dict[str, list[float]] = {name: [] for name in programs}
  for _ in range(_ROUNDS.value):
    for name, program in programs.items():
      start = time.perf_counter()
      program()
      seconds[name].append(time.perf_counter() - start)
  medians = {name: statistics.median(times) for name, times in seconds.items()}
  same = {
    name: round(float((outputs[name] == expected()).mean()), 4)
    for name, expected in references.items()
  }
  return {
    "batch": batch,
    "target": length,
    "milliseconds": {name: round(1e3 * value, 1) for name, value in medians.items()},
    "times_hf_greedy": {
      name: round(medians["hf_greedy"] / value, 2) for name, value in medians.items()
    },
    "ids_equal": same,
  }


if __name__ == "__main__":
  app.run(main)
