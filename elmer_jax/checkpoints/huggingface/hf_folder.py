# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face folders of BART and ELMER: config, weights, tokenizer, generation.

    config.json  generation_config.json
    model.safetensors or pytorch_model.bin
    vocab.json  merges.txt  tokenizer_config.json  special_tokens_map.json

What BART has no keys for (objective and lengths) is in `config.json` under "elmer_jax",
which other programs ignore.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from absl import logging

from elmer_jax import objectives
from elmer_jax.checkpoints.huggingface import bart_names, tensor_files
from elmer_jax.checkpoints.huggingface.tensor_files import TensorFile
from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError
from elmer_jax.core.json_files import optional_field, read_object, shown
from elmer_jax.core.ranges import Range, check_ranges
from elmer_jax.decoding.incremental import Search
from elmer_jax.model.config import ModelConfig
from elmer_jax.tokenizer.bpe import Vocabulary
from elmer_jax.tokenizer.special_ids import (
  BOS_ID,
  EOS_ID,
  MASK_TOKEN,
  PAD_ID,
  SPECIAL_TOKENS,
)

# BART's names of the sizes.
_SIZES = {
  "vocabulary_size": "vocab_size",
  "encoder_layers": "encoder_layers",
  "decoder_layers": "decoder_layers",
  "d_model": "d_model",
  "encoder_heads": "encoder_attention_heads",
  "decoder_heads": "decoder_attention_heads",
  "encoder_feed_forward": "encoder_ffn_dim",
  "decoder_feed_forward": "decoder_ffn_dim",
  "positions": "max_position_embeddings",
}
_OPTIONS = {
  "dropout": "dropout",
  "init_stddev": "init_std",
  "scale_embedding": "scale_embedding",
}
# Fixed in this model; a file with other values can't be read.
_FIXED = {
  "activation_function": "gelu",
  "bos_token_id": BOS_ID,
  "pad_token_id": PAD_ID,
  "eos_token_id": EOS_ID,
  "decoder_start_token_id": EOS_ID,
  "tie_word_embeddings": True,
}
# The same, in older files.
_FIXED_OLD = {
  "normalize_before": False,
  "add_final_layer_norm": False,
  "add_bias_logits": False,
  "normalize_embedding": True,
  "static_position_embeddings": False,
}
# Hugging Face's names of the settings in `Search`.
_SEARCH = {
  "beams": "num_beams",
  "no_repeat_ngram": "no_repeat_ngram_size",
  "length_penalty": "length_penalty",
  "early_stopping": "early_stopping",
  "min_length": "min_length",
}
_MAX_SOURCE, _DEFAULT_TARGET = 1024, 128


@dataclasses.dataclass(frozen=True)
class Folder:
  """The content of a folder, as this project stores it."""

  config: ModelConfig
  params: dict  # nested dict of float32 arrays
  metadata: dict[str, Any]  # as a checkpoint's: objective, lengths, generation


def is_hf_folder(path: str) -> bool:
  """Returns whether `path` is a Hugging Face folder, not a folder of this project."""
  place = pathlib.Path(path)
  return (place / "config.json").is_file() and not (place / "checkpoints").exists()


def read(path: str) -> Folder:
  """Reads a folder.

  Raises:
    UserError: another architecture, a damaged file, tensors that are missing,
      unexpected or of another shape, or a vocabulary of another size.
  """
  folder = pathlib.Path(path)
  described = read_object(folder / "config.json")
  _check_architecture(folder, described)
  file = tensor_files.open_all(folder)
  names = _names(file)
  config = _model_config(folder, described, bart_names.PROJECTION in names)
  _check_tensors(folder, file, names, config)
  vocabulary = Vocabulary.load(folder)
  if vocabulary.size != config.vocabulary_size:
    raise UserError(
      f"{folder / 'vocab.json'} has {vocabulary.size} tokens, but config.json has "
      f"vocab_size {config.vocabulary_size}: use the files of one model"
    )

  def tensor(name: str) -> np.ndarray:
    if name == bart_names.BIAS and name not in names:
      return np.zeros((1, config.vocabulary_size), np.float32)
    return _as_float32(file.read(names[name]), f"{_weights(folder)}: tensor {name}")

  params = bart_names.from_bart(tensor, config)
  _to_jax(params)
  return Folder(config, params, _metadata(folder, described, config))


def read_model_config(path: str) -> ModelConfig:
  """Reads the sizes of a folder's model; raises as `read` does."""
  folder = pathlib.Path(path)
  described = read_object(folder / "config.json")
  _check_architecture(folder, described)
  return _model_config(folder, described, soft_exit=False)


def write(
  path: str,
  config: ModelConfig,
  params: Mapping,
  metadata: Mapping[str, Any],
  vocabulary: Vocabulary,
) -> None:
  """Writes a folder that transformers can open; the weights are written last.

  Raises:
    UserError: the model has no counterpart in BART, or the folder can't be written.
  """
  if problem := why_not_writable(config):
    raise UserError(problem)
  folder = pathlib.Path(path)
  tensors = bart_names.to_bart(_arrays(params), config)
  for name, content in _descriptions(config, metadata).items():
    write_whole(folder / name, json.dumps(content, indent=2) + "\n")
  vocabulary.save(folder)
  tensor_files.write(folder / tensor_files.SAFETENSORS, tensors)


def _as_float32(array: np.ndarray, where: str) -> np.ndarray:
  if not jnp.issubdtype(array.dtype, jnp.floating):
    raise UserError(f"{where} is of {array.dtype}; weights are floating-point numbers")
  with np.errstate(over="ignore"):  # of float64; found below
    array = np.asarray(array, np.float32)
  if not np.isfinite(array).all():
    raise UserError(f"{where} has numbers that are not finite: the file is damaged")
  return array


def _weights(folder: pathlib.Path) -> pathlib.Path:
  """Returns the files of the weights, for messages."""
  return folder / " + ".join(path.name for path in tensor_files.find(folder))


def why_not_writable(config: ModelConfig) -> str | None:
  """Returns why `write` would refuse a model, None if it would not."""
  if config.norm == "post":
    return None
  return (
    "BART has no pre-norm: only models with model.norm='post' can be written as "
    "Hugging Face folders"
  )


def _to_jax(params: dict) -> None:
  """Replaces NumPy arrays by JAX arrays, one by one to save memory."""
  for name, value in params.items():
    if isinstance(value, dict):
      _to_jax(value)
    else:
      params[name] = jnp.asarray(value)


def _arrays(params: Mapping) -> dict:
  return {
    name: _arrays(value) if isinstance(value, Mapping) else np.asarray(value)
    for name, value in params.items()
  }


def _check_architecture(folder: pathlib.Path, described: Mapping) -> None:
  where, kind = folder / "config.json", described.get("model_type")
  if kind != "bart":
    raise UserError(f"{where}: model_type is {kind!r}; it must be 'bart'")
  for name, needed in (_FIXED | _FIXED_OLD).items():
    if described.get(name) not in (None, needed):
      raise UserError(f"{where}: {name} is {described[name]!r}; it must be {needed!r}")


def _model_config(
  folder: pathlib.Path, described: Mapping, soft_exit: bool
) -> ModelConfig:
  where = folder / "config.json"
  fields = {}
  for ours, theirs in _SIZES.items():
    fields[ours] = optional_field(described, theirs, int, where)
    if fields[ours] is None:
      raise UserError(f"{where}: {theirs} is missing: it must be a whole number")
  defaults = ModelConfig()
  for ours, theirs in _OPTIONS.items():
    default = getattr(defaults, ours)
    value = optional_field(described, theirs, type(default), where)
    fields[ours] = default if value is None else value
  try:
    return ModelConfig(**fields, soft_exit=soft_exit)
  except UserError as error:
    raise UserError(f"{where}: {error}") from None


def _names(file: TensorFile) -> dict[str, str]:
  """Maps BART's names to the file's: some files leave out the prefix "model."."""
  bare = "shared.weight" in file.shapes
  return {
    f"model.{name}"
    if bare and name.startswith(("shared", "encoder", "decoder"))
    else name: name
    for name in file.shapes
    if not name.endswith("coder.version")  # of the conversion from fairseq
  }


def _check_tensors(
  folder: pathlib.Path, file: TensorFile, names: Mapping, config: ModelConfig
) -> None:
  where = _weights(folder)
  needed = bart_names.shapes(config)
  for name in sorted(needed.keys() - names.keys() - {bart_names.BIAS}):
    raise UserError(f"{where}: tensor {name} is missing")
  for name in sorted(names.keys() - needed.keys() - set(bart_names.TIED)):
    raise UserError(f"{where}: unexpected tensor {name}: neither BART nor ELMER has it")
  for name, stored in names.items():
    shape, right = file.shapes[stored], needed.get(name, needed[bart_names.TABLE])
    if shape != right:
      raise UserError(
        f"{where}: tensor {name} has shape {list(shape)}; by config.json it must be "
        f"{list(right)}"
      )
  tied = [names[name] for name in bart_names.TIED if name in names]
  table = file.read(names[bart_names.TABLE]) if tied else None
  for name in tied:
    if not np.array_equal(file.read(name), table):
      raise UserError(
        f"{where}: tensor {name} differs from {bart_names.TABLE}; this model needs "
        "tied tables"
      )


def _metadata(
  folder: pathlib.Path, described: Mapping, config: ModelConfig
) -> dict[str, Any]:
  where = folder / "config.json"
  ours = optional_field(described, "elmer_jax", dict, where) or {}
  generation = dict(described)
  if (folder / "generation_config.json").exists():
    generation |= read_object(folder / "generation_config.json")
  default = "soft_exit" if config.soft_exit else "autoregressive"
  source_length = optional_field(ours, "source_length", int, where)
  target_length = optional_field(ours, "target_length", int, where)
  if target_length is None:
    target_length = optional_field(generation, "max_length", int, folder)
  lengths = {
    "source_length": source_length or min(_MAX_SOURCE, config.positions),
    "target_length": min(target_length or _DEFAULT_TARGET, config.positions),
  }
  longest = Range(3, config.positions), Range(1, config.positions)  # with BOS and EOS
  check_ranges(lengths, dict(zip(lengths, longest, strict=True)), f"{where}: ")
  objective = {"name": optional_field(ours, "objective", str, where) or default}
  if objective["name"] not in objectives.NAMES:
    known = ", ".join(objectives.NAMES)
    raise UserError(f"{where}: objective {objective['name']!r} is not one of {known}")
  threshold = optional_field(ours, "exit_threshold", float, where)
  if threshold is not None:
    objective["exit_threshold"] = threshold
    check_ranges(objective, {"exit_threshold": Range(0, 100)}, f"{where}: ")
  return {"objective": objective, **lengths, "generation": _search(folder, generation)}


def _search(folder: pathlib.Path, generation: Mapping) -> dict[str, Any]:
  if generation.get("early_stopping") not in (None, True, False):
    logging.warning(
      "%s: early_stopping %s is not supported; false is used",
      *(folder, shown(generation["early_stopping"])),
    )
    generation = {**generation, "early_stopping": False}
  search = {}
  for ours, theirs in _SEARCH.items():
    value = optional_field(generation, theirs, type(getattr(Search(), ours)), folder)
    if value is not None:
      search[ours] = value
  search["forced_bos"] = generation.get("forced_bos_token_id") == BOS_ID
  search["forced_eos"] = generation.get("forced_eos_token_id") == EOS_ID
  try:
    return dataclasses.asdict(Search(**search))
  except UserError as error:
    raise UserError(f"{folder}: bad generation settings ({error})") from None


def _descriptions(config: ModelConfig, metadata: Mapping) -> dict[str, dict]:
  """Returns the content of each JSON file except the vocabulary's."""
  specials = {
    "bos_token": SPECIAL_TOKENS[BOS_ID],
    "eos_token": SPECIAL_TOKENS[EOS_ID],
    "pad_token": SPECIAL_TOKENS[PAD_ID],
    "unk_token": SPECIAL_TOKENS[3],
    "sep_token": SPECIAL_TOKENS[EOS_ID],
    "cls_token": SPECIAL_TOKENS[BOS_ID],
    "mask_token": MASK_TOKEN,
  }
  return {
    "config.json": _bart_config(config, metadata),
    "generation_config.json": _generation_config(metadata),
    "special_tokens_map.json": specials,
    "tokenizer_config.json": specials
    | {
      "tokenizer_class": "BartTokenizer",
      "add_prefix_space": False,
      "model_max_length": config.positions,
    },
  }


def _bart_config(config: ModelConfig, metadata: Mapping) -> dict[str, Any]:
  named = {theirs: getattr(config, ours) for ours, theirs in _SIZES.items()}
  named |= {theirs: getattr(config, ours) for ours, theirs in _OPTIONS.items()}
  objective = metadata["objective"]
  threshold = {k: v for k, v in objective.items() if k == "exit_threshold"}
  return {
    "architectures": ["BartForConditionalGeneration"],
    "model_type": "bart",
    **named,
    "num_hidden_layers": config.encoder_layers,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    **_FIXED,
    "is_encoder_decoder": True,
    "torch_dtype": "float32",
    "elmer_jax": {
      "objective": objective["name"],
      **threshold,
      "source_length": metadata["source_length"],
      "target_length": metadata["target_length"],
    },
  }


def _generation_config(metadata: Mapping) -> dict[str, Any]:
  search = Search(**metadata.get("generation", {}))
  content = {theirs: getattr(search, ours) for ours, theirs in _SEARCH.items()}
  content |= {
    "bos_token_id": BOS_ID,
    "pad_token_id": PAD_ID,
    "eos_token_id": EOS_ID,
    "decoder_start_token_id": EOS_ID,
    "max_length": metadata["target_length"],
  }
  if search.forced_bos:
    content["forced_bos_token_id"] = BOS_ID
  if search.forced_eos:
    content["forced_eos_token_id"] = EOS_ID
  return content
