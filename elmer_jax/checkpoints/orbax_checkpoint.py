# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: plain nested dicts of arrays, written by Orbax in the background.

    WORKDIR/checkpoints/
      vocabulary/        vocab.json, merges.txt
      1500/              one folder an update, complete or not there at all
        params/          nested dict of float32 arrays
        optimizer/       nested dict of arrays
        metadata/        format, model sizes, lengths, objective, seconds spent
        gate.npz         where one was made: when a text may stop (`gate_file`)

No flax or optax type is stored, so a file outlives their layouts. A save that was cut
short leaves a folder under a temporary name, which the next start passes over.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath

from elmer_jax.checkpoints.huggingface import hf_folder
from elmer_jax.checkpoints.train_state import State
from elmer_jax.core.errors import UserError
from elmer_jax.decoding.gate import gate_file
from elmer_jax.model import elmer
from elmer_jax.model.config import ModelConfig
from elmer_jax.parallel import sharding

FORMAT = 1
ITEMS = ("params", "optimizer", "metadata")
# Fields of `ModelConfig` that may differ from those of the weights that a run starts
# from; all others are sizes.
_NO_SIZES = {"dropout", "init_stddev", "dtype", "remat", "head_chunk", "soft_exit"}


def folder_of(workdir: str) -> epath.Path:
  return epath.Path(workdir).absolute() / "checkpoints"


def open_manager(
  folder: epath.Path, keep: int | None = None, in_background: bool = True
) -> ocp.CheckpointManager:
  """Opens a folder of checkpoints; with `keep`, for writing as well.

  Writing in the background takes a copy of everything first.
  """
  options = ocp.CheckpointManagerOptions(
    max_to_keep=keep,
    create=keep is not None,
    read_only=keep is None,
    enable_async_checkpointing=keep is not None and in_background,
  )
  return ocp.CheckpointManager(folder, item_names=ITEMS, options=options)


def save(
  manager: ocp.CheckpointManager, state: State, metadata: dict[str, Any]
) -> None:
  """Starts writing `state`; returns once its arrays have been copied."""
  manager.save(
    int(state.step),
    args=ocp.args.Composite(
      params=ocp.args.StandardSave(state.params),
      optimizer=ocp.args.StandardSave(_to_plain(state.opt_state)),
      metadata=ocp.args.JsonSave({"format": FORMAT, **metadata}),
    ),
  )


def restore(
  manager: ocp.CheckpointManager, step: int, shapes: State, shardings: State
) -> tuple[State, dict[str, Any]]:
  """Reads checkpoint `step` onto the devices that `shardings` names."""
  abstract = jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
    shapes,
    shardings,
  )
  items = manager.restore(
    step,
    args=ocp.args.Composite(
      params=ocp.args.StandardRestore(abstract.params),
      optimizer=ocp.args.StandardRestore(_to_plain(abstract.opt_state)),
      metadata=ocp.args.JsonRestore(),
    ),
  )
  opt_state = _from_plain(abstract.opt_state, items.optimizer)
  count = jax.device_put(jax.numpy.int32(step), shardings.step)
  return State(count, items.params, opt_state), items.metadata


def steps_of(path: str) -> tuple[epath.Path, list[int]]:
  """Returns the folder of a run's checkpoints, and their numbers, rising."""
  folder, _ = find(path)
  steps = sorted(int(item.name) for item in folder.iterdir() if item.name.isdigit())
  return folder, steps


def find(path: str) -> tuple[epath.Path, int]:
  """Finds the newest checkpoint at `path`: a workdir, its checkpoints, or one of them.

  Returns:
    The folder of checkpoints and the number of the one meant.

  Raises:
    UserError: if there is none.
  """
  place = epath.Path(path).absolute()
  if not place.exists():
    raise UserError(f"there is no checkpoint at {path}: the path doesn't exist")
  if (place / "params").exists() and place.name.isdigit():
    return place.parent, int(place.name)
  for folder in (place / "checkpoints", place):
    if folder.is_dir():
      steps = [int(item.name) for item in folder.iterdir() if item.name.isdigit()]
      if steps:
        return folder, max(steps)
  raise UserError(f"there is no checkpoint at {path}: a run's workdir has some")


def vocabulary_of(path: str) -> epath.Path:
  """Returns the folder of the vocabulary that belongs to the weights at `path`."""
  if hf_folder.is_one(path):
    return epath.Path(path).absolute()
  return find(path)[0] / "vocabulary"


def size_names() -> list[str]:
  """Returns the fields of `ModelConfig` that weights determine."""
  fields = dataclasses.fields(ModelConfig)
  return [field.name for field in fields if field.name not in _NO_SIZES]


def read_sizes(path: str) -> dict[str, Any]:
  """Returns the sizes that the weights at `path` determine, as fields of `ModelConfig`.

  It reads neither weights nor asks JAX for devices.

  Args:
    path: of a checkpoint or a Hugging Face folder.

  Raises:
    UserError: there is neither, or it can't be read.
  """
  if hf_folder.is_one(path):
    config = hf_folder.read_model_config(path)
  else:
    folder, step = find(path)
    file = folder / str(step) / "metadata" / "metadata"
    try:
      metadata = json.loads(file.read_text())
      config = ModelConfig(**metadata["model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise UserError(f"{file} can't be read: {error}") from None
  return {name: getattr(config, name) for name in size_names()}


def is_finished(workdir: str, steps: int) -> bool:
  """Tells whether a run has a checkpoint of its last update."""
  folder = folder_of(workdir)
  if not folder.is_dir():
    return False
  return any(
    int(item.name) >= steps for item in folder.iterdir() if item.name.isdigit()
  )


class Loaded(NamedTuple):
  """Weights without an optimizer, and what belongs to them."""

  config: ModelConfig
  params: dict  # nested dict of float32 arrays
  # Objective, lengths, "generation" (settings of `decoding.incremental.Search`).
  metadata: dict[str, Any]
  vocabulary: epath.Path  # its folder
  gate: gate_file.Calibrated | None = None


def load(path: str, places: Callable[[ModelConfig], dict] | None = None) -> Loaded:
  """Reads the weights of a checkpoint, or of a Hugging Face folder.

  Args:
    path: of either.
    places: gives a sharding for every parameter of a model; by default all are read
      onto this process's first device. Those of a Hugging Face folder stay in memory.

  Raises:
    UserError: there are none, or they can't be read.
  """
  if hf_folder.is_one(path):
    folder = hf_folder.read(path)
    return Loaded(folder.config, folder.params, folder.metadata, vocabulary_of(path))
  folder, step = find(path)
  with open_manager(folder) as manager:
    args = ocp.args.Composite(metadata=ocp.args.JsonRestore())
    metadata = manager.restore(step, args=args).metadata
    if metadata.get("format") != FORMAT:
      raise UserError(
        f"{folder / str(step)} has checkpoint format {metadata.get('format')}; "
        f"this version reads {FORMAT}"
      )
    config = ModelConfig(**metadata["model"])
    shapes = jax.eval_shape(lambda: elmer.initialise(config, 0))
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(
      lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
      shapes,
      places(config) if places else jax.tree.map(lambda _: here, shapes),
    )
    args = ocp.args.Composite(params=ocp.args.StandardRestore(abstract))
    params = manager.restore(step, args=args).params
  gate = gate_file.read(folder / str(step), config)
  return Loaded(config, params, metadata | {"step": step}, vocabulary_of(path), gate)


def write_weights(
  path: str,
  config: ModelConfig,
  params: dict,
  metadata: dict[str, Any],
  step: int = 0,
  keep: int = 1,
) -> None:
  """Writes weights alone as checkpoint `step` of the folder `path`."""
  items = ocp.args.Composite(
    params=ocp.args.StandardSave(params),
    metadata=ocp.args.JsonSave(
      {**metadata, "format": FORMAT, "model": describe(config)}
    ),
  )
  folder = epath.Path(path).absolute()
  with open_manager(folder, keep=keep, in_background=False) as manager:
    manager.save(step, args=items)


def start_from(path: str, config: ModelConfig, fresh: dict) -> dict:
  """Returns parameters for a new run: those of `path`, `fresh` where it has none.

  They lie where those of `fresh` do; no device or process reads more than its part of a
  checkpoint. Only the soft-exit projection may be missing there; it starts as the
  identity.

  Raises:
    UserError: if the checkpoint's sizes are not those of `config`.
  """
  shardings = jax.tree.map(lambda leaf: leaf.sharding, fresh)

  def places(theirs: ModelConfig) -> dict:
    _check_sizes(path, theirs, config)
    shapes = jax.eval_shape(lambda: elmer.initialise(theirs, 0))
    # A projection that isn't wanted here is small enough to lie anywhere.
    anywhere = sharding.replicated(shardings["tokens"].mesh)
    return {
      name: shardings.get(name) or jax.tree.map(lambda _: anywhere, part)
      for name, part in shapes.items()
    }

  theirs, params = load(path, places)[:2]
  if hf_folder.is_one(path):
    _check_sizes(path, theirs, config)
  params = {name: value for name, value in params.items() if name in fresh}
  read = {name: shardings[name] for name in params}
  return fresh | sharding.from_everywhere(params, read)


def _check_sizes(path: str, theirs: ModelConfig, config: ModelConfig) -> None:
  differing = [
    f"model.{name} {value} there, {getattr(config, name)} here"
    for name, value in describe(theirs).items()
    if name not in _NO_SIZES and value != getattr(config, name)
  ]
  if differing:
    raise UserError(f"init_from={path} has other sizes: {'; '.join(differing)}")


def describe(config: ModelConfig) -> dict[str, Any]:
  """Returns the model's sizes as JSON."""
  return dataclasses.asdict(config)


def _to_plain(tree) -> dict:
  """Turns a tree of any types into nested dicts, by the names along each path."""
  plain: dict = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    *outer, last = (jax.tree_util.keystr((key,), simple=True) for key in path)
    place = plain
    for name in outer:
      place = place.setdefault(name, {})
    place[last] = leaf
  return plain


def _from_plain(template, plain: dict):
  def pick(path, _):
    place = plain
    for key in path:
      place = place[jax.tree_util.keystr((key,), simple=True)]
    return place

  return jax.tree_util.tree_map_with_path(pick, template)
