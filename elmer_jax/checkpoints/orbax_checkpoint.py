# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: plain nested dicts of arrays, written by Orbax in the background.

    WORKDIR/checkpoints/
      vocabulary/        vocab.json, merges.txt
      1500/              one folder per saved step, complete or absent
        params/          nested dict of float32 arrays
        optimizer/       nested dict of arrays
        metadata/        format, model sizes, lengths, objective, seconds spent
        gate.npz         optional exit gate, see `gate_file`
        dag.npz          of the objective dag, see `dag_settings`

No Flax or Optax type is stored, so checkpoints do not depend on their class layouts. An
interrupted save leaves a folder with a temporary name, which is ignored.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath

from elmer_jax.checkpoints import parameter_names
from elmer_jax.checkpoints.huggingface import hf_folder
from elmer_jax.checkpoints.train_state import TrainState
from elmer_jax.core.errors import UserError
from elmer_jax.decoding import dag_settings
from elmer_jax.decoding.gate import gate_file
from elmer_jax.model import elmer
from elmer_jax.model.config import ModelConfig
from elmer_jax.objectives import dag
from elmer_jax.parallel import sharding

FORMAT = 2  # in format 1 some parameters have other names, see `parameter_names`
ITEMS = ("params", "optimizer", "metadata")
# Fields of `ModelConfig` that weights do not determine; all others are sizes.
_NOT_SIZES = {
  *("dropout", "init_stddev", "dtype", "remat", "head_chunk"),
  *("soft_exit", "transition_heads", "transition_window"),
}


def checkpoints_folder(workdir: str) -> epath.Path:
  """Returns where the checkpoints of a run are."""
  return epath.Path(workdir).absolute() / "checkpoints"


def open_manager(
  folder: epath.Path, max_to_keep: int | None = None, in_background: bool = True
) -> ocp.CheckpointManager:
  """Opens a folder of checkpoints.

  Args:
    folder: of the checkpoints.
    max_to_keep: number of newest checkpoints that are kept; None: read only.
    in_background: whether writing is asynchronous, from a copy of the arrays.
  """
  writes = max_to_keep is not None
  options = ocp.CheckpointManagerOptions(
    max_to_keep=max_to_keep,
    create=writes,
    read_only=not writes,
    enable_async_checkpointing=writes and in_background,
  )
  return ocp.CheckpointManager(folder, item_names=ITEMS, options=options)


def save(
  manager: ocp.CheckpointManager, state: TrainState, metadata: dict[str, Any]
) -> None:
  """Starts writing `state`; returns as soon as its arrays are copied."""
  manager.save(
    int(state.step),
    args=ocp.args.Composite(
      params=ocp.args.StandardSave(state.params),
      optimizer=ocp.args.StandardSave(_to_plain(state.opt_state)),
      metadata=ocp.args.JsonSave({"format": FORMAT, **metadata}),
    ),
  )


def restore(
  manager: ocp.CheckpointManager, step: int, shapes: TrainState, shardings: TrainState
) -> tuple[TrainState, dict[str, Any]]:
  """Reads checkpoint `step` with the given shardings."""
  abstract = _with_shardings(shapes, shardings)
  metadata = _read_metadata(manager, step)
  arrays = _read_arrays(
    manager,
    step,
    metadata,
    {"params": abstract.params, "optimizer": _to_plain(abstract.opt_state)},
  )
  opt_state = _from_plain(abstract.opt_state, arrays["optimizer"])
  count = jax.device_put(jax.numpy.int32(step), shardings.step)
  return TrainState(count, arrays["params"], opt_state), metadata


def _read_metadata(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
  args = ocp.args.Composite(metadata=ocp.args.JsonRestore())
  metadata = manager.restore(step, args=args).metadata
  if metadata.get("format") not in (1, FORMAT):
    raise UserError(
      f"{epath.Path(manager.directory) / str(step)} has checkpoint format "
      f"{metadata.get('format')}; this version reads formats 1 to {FORMAT}"
    )
  return metadata


def _read_arrays(
  manager: ocp.CheckpointManager,
  step: int,
  metadata: dict[str, Any],
  abstract: dict[str, Any],
) -> dict[str, Any]:
  """Reads items by name, with the shapes and shardings of nested dicts."""
  is_old = metadata["format"] == 1
  if is_old:
    abstract = parameter_names.to_format_1(abstract)
  args = {name: ocp.args.StandardRestore(tree) for name, tree in abstract.items()}
  items = manager.restore(step, args=ocp.args.Composite(**args))
  arrays = {name: items[name] for name in abstract}
  return parameter_names.from_format_1(arrays) if is_old else arrays


def list_steps(path: str) -> tuple[epath.Path, list[int]]:
  """Returns the folder of a run's checkpoints and their steps in ascending order.

  Raises:
    UserError: there is no checkpoint.
  """
  folder, _ = find_checkpoint(path)
  return folder, _steps_in(folder)


def find_checkpoint(path: str) -> tuple[epath.Path, int]:
  """Finds the newest checkpoint at `path`.

  Args:
    path: a run's folder, its folder of checkpoints, or one checkpoint.

  Returns:
    The folder of checkpoints and the step of the checkpoint.

  Raises:
    UserError: there is no checkpoint.
  """
  place = epath.Path(path).absolute()
  if not place.exists():
    raise UserError(f"there is no checkpoint at {path}: the path doesn't exist")
  if (place / "params").exists() and place.name.isdigit():
    return place.parent, int(place.name)
  for folder in (place / "checkpoints", place):
    if steps := _steps_in(folder):
      return folder, steps[-1]
  raise UserError(
    f"there is no checkpoint at {path}: name the folder of a run that was trained"
  )


def is_finished(workdir: str, steps: int) -> bool:
  """Returns whether a run has a checkpoint of step `steps` or a later one."""
  return any(step >= steps for step in _steps_in(checkpoints_folder(workdir)))


def _steps_in(folder: epath.Path) -> list[int]:
  if not folder.is_dir():
    return []
  return sorted(int(item.name) for item in folder.iterdir() if item.name.isdigit())


def vocabulary_folder(path: str) -> epath.Path:
  """Returns the folder of the vocabulary that belongs to the weights at `path`."""
  if hf_folder.is_hf_folder(path):
    return epath.Path(path).absolute()
  return find_checkpoint(path)[0] / "vocabulary"


def size_names() -> list[str]:
  """Returns the fields of `ModelConfig` that weights determine."""
  fields = dataclasses.fields(ModelConfig)
  return [field.name for field in fields if field.name not in _NOT_SIZES]


def read_sizes(path: str) -> dict[str, Any]:
  """Returns the sizes that the weights at `path` determine, as fields of `ModelConfig`.

  Neither reads the weights nor initialises JAX's devices.

  Args:
    path: of a checkpoint or a Hugging Face folder.

  Raises:
    UserError: there is neither, or it can't be read.
  """
  if hf_folder.is_hf_folder(path):
    config = hf_folder.read_model_config(path)
  else:
    folder, step = find_checkpoint(path)
    file = folder / str(step) / "metadata" / "metadata"
    try:
      metadata = json.loads(file.read_text())
      config = ModelConfig(**metadata["model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise UserError(f"{file} can't be read: {error}") from None
  return {name: getattr(config, name) for name in size_names()}


class LoadedCheckpoint(NamedTuple):
  """Weights without the optimizer's state, and what describes them."""

  config: ModelConfig
  params: dict  # nested dict of float32 arrays
  # Objective, lengths, "generation" (settings of `decoding.incremental.Search`).
  metadata: dict[str, Any]
  vocabulary: epath.Path  # its folder
  gate: gate_file.Calibrated | None = None
  dag: dag_settings.DagSettings | None = None


def load(
  path: str, param_shardings: Callable[[ModelConfig], dict] | None = None
) -> LoadedCheckpoint:
  """Reads the weights of a checkpoint or of a Hugging Face folder.

  Args:
    path: of a run, a checkpoint or a Hugging Face folder.
    param_shardings: returns the sharding of each parameter; by default all are on this
      process's first device. A Hugging Face folder is always read as NumPy arrays.

  Raises:
    UserError: there are no weights, or they can't be read.
  """
  vocabulary = vocabulary_folder(path)
  if hf_folder.is_hf_folder(path):
    folder = hf_folder.read(path)
    return LoadedCheckpoint(folder.config, folder.params, folder.metadata, vocabulary)
  folder, step = find_checkpoint(path)
  with open_manager(folder) as manager:
    metadata = _read_metadata(manager, step)
    config = ModelConfig(**metadata["model"])
    shapes = jax.eval_shape(lambda: elmer.initialise(config, 0))
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    shardings = (
      param_shardings(config)
      if param_shardings
      else jax.tree.map(lambda _: device, shapes)
    )
    abstract = _with_shardings(shapes, shardings)
    params = _read_arrays(manager, step, metadata, {"params": abstract})["params"]
  gate = gate_file.read(folder / str(step), config)
  graph_settings = None
  if metadata["objective"]["name"] == "dag":
    options = dag.get_options(metadata["objective"])
    graph_settings = dag_settings.read(
      folder / str(step), options, config.vocabulary_size
    )
  metadata |= {"step": step}
  return LoadedCheckpoint(config, params, metadata, vocabulary, gate, graph_settings)


def save_params(
  path: str,
  config: ModelConfig,
  params: dict,
  metadata: dict[str, Any],
  step: int = 0,
  max_to_keep: int = 1,
) -> None:
  """Writes weights without an optimizer's state as checkpoint `step` of a folder."""
  items = ocp.args.Composite(
    params=ocp.args.StandardSave(params),
    metadata=ocp.args.JsonSave(
      {**metadata, "format": FORMAT, "model": model_sizes(config)}
    ),
  )
  folder = epath.Path(path).absolute()
  with open_manager(folder, max_to_keep, in_background=False) as manager:
    manager.save(step, args=items)


def load_initial_params(path: str, config: ModelConfig, fresh: dict) -> dict:
  """Returns the parameters of `path` for a new run, with the shardings of `fresh`.

  Each process reads only its own shards of a checkpoint. The soft-exit projection and
  the transitions may be missing at `path`; those of `fresh` are used then.

  Raises:
    UserError: the checkpoint's sizes are not those of `config`.
  """
  shardings = jax.tree.map(lambda leaf: leaf.sharding, fresh)

  def param_shardings(stored: ModelConfig) -> dict:
    _check_sizes(path, stored, config)
    shapes = jax.eval_shape(lambda: elmer.initialise(stored, 0))
    # A part that this run does not use is small: it can be replicated.
    replicated = sharding.replicated(shardings["tokens"].mesh)
    return {
      name: shardings.get(name) or jax.tree.map(lambda _: replicated, part)
      for name, part in shapes.items()
    }

  loaded = load(path, param_shardings)
  _check_sizes(path, loaded.config, config)
  params = {name: value for name, value in loaded.params.items() if name in fresh}
  used = {name: shardings[name] for name in params}
  return fresh | sharding.shard_host_arrays(params, used)


def _check_sizes(path: str, stored: ModelConfig, config: ModelConfig) -> None:
  differing = [
    f"model.{name} {value} there, {getattr(config, name)} here"
    for name, value in model_sizes(stored).items()
    if name not in _NOT_SIZES and value != getattr(config, name)
  ]
  if differing:
    raise UserError(f"init_from={path} has other sizes: {'; '.join(differing)}")


def model_sizes(config: ModelConfig) -> dict[str, Any]:
  """Returns the model's configuration as a JSON object."""
  return dataclasses.asdict(config)


def _with_shardings(shapes, shardings):
  return jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    shapes,
    shardings,
  )


def _to_plain(tree) -> dict:
  """Converts a tree of any node types to nested dicts with the same key names."""
  plain: dict = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    *outer, last = (jax.tree_util.keystr((key,), simple=True) for key in path)
    node = plain
    for name in outer:
      node = node.setdefault(name, {})
    node[last] = leaf
  return plain


def _from_plain(template, plain: dict):
  """Converts nested dicts back to the node types of `template`."""

  def pick(path, _):
    node = plain
    for key in path:
      node = node[jax.tree_util.keystr((key,), simple=True)]
    return node

  return jax.tree_util.tree_map_with_path(pick, template)
