# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: plain nested dicts of arrays, written by Orbax in the background.

    WORKDIR/checkpoints/
      vocabulary/        vocab.json, merges.txt
      1500/              one folder per saved step, complete or absent
        params/          nested dict of float32 arrays
        optimizer/       nested dict of arrays
        metadata/        format, model sizes, lengths, objective, seconds spent,
                         a checksum of each array, see `checksums`
        gate.npz         optional exit gate, see `gate_file`
        dag.npz          of the objective dag, see `dag_settings`

No Flax or Optax type is stored, so checkpoints do not depend on their class layouts. An
interrupted save leaves a folder with a temporary name, which is ignored. A checkpoint
that turns out to be damaged is renamed to damaged-STEP when its run resumes.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from elmer_jax.checkpoints import checksums, parameter_names, restore_errors, steps
from elmer_jax.checkpoints.huggingface import hf_folder
from elmer_jax.checkpoints.steps import DamagedCheckpoint
from elmer_jax.checkpoints.train_state import TrainState
from elmer_jax.core import quiet
from elmer_jax.core.errors import UserError
from elmer_jax.decoding import dag_settings
from elmer_jax.decoding.gate import gate_file
from elmer_jax.model import elmer
from elmer_jax.model.config import ModelConfig
from elmer_jax.objectives import dag
from elmer_jax.parallel import processes

FORMAT = 2  # in format 1 some parameters have other names, see `parameter_names`
# Fields of `ModelConfig` that weights do not determine; all others are sizes.
NOT_SIZES = {
  *("dropout", "init_stddev", "dtype", "remat", "head_chunk"),
  *("soft_exit", "transition_heads", "transition_window"),
}


def checkpoints_folder(workdir: str) -> epath.Path:
  """Returns where the checkpoints of a run are."""
  return epath.Path(workdir).absolute() / "checkpoints"


def save(
  manager: ocp.CheckpointManager, state: TrainState, metadata: dict[str, Any]
) -> None:
  """Starts writing `state`; returns as soon as its arrays are copied.

  Raises:
    UserError: it, or what is still being saved, can't be written.
  """
  arrays = {"params": state.params, "optimizer": _to_plain(state.opt_state)}
  with _writing(manager):
    manager.save(int(state.step), args=_to_save(arrays, metadata), force=True)


def wait(manager: ocp.CheckpointManager) -> None:
  """Waits until what is being saved is written; raises what `save` raises."""
  with _writing(manager):
    manager.wait_until_finished()


@contextlib.contextmanager
def _writing(manager: ocp.CheckpointManager) -> Iterator[None]:
  """Raises `UserError` where Orbax, or a thread of it, can't write."""
  try:
    yield
  except (OSError, ValueError) as error:
    raise UserError(
      f"{manager.directory} can't be written: {restore_errors.reason(error)}"
    ) from None


def _to_save(arrays: dict[str, dict], metadata: dict[str, Any]) -> ocp.args.Composite:
  found = checksums.summaries(arrays)
  metadata = {
    "format": FORMAT,
    **metadata,
    "checksums": {name: summary.checksum for name, summary in found.items()},
  }
  items = {name: ocp.args.StandardSave(tree) for name, tree in arrays.items()}
  return ocp.args.Composite(**items, metadata=ocp.args.JsonSave(metadata))


def restore_newest(
  manager: ocp.CheckpointManager, shapes: TrainState, shardings: TrainState
) -> tuple[TrainState, dict[str, Any]] | None:
  """Reads the newest checkpoint that is whole, with the given shardings.

  Later ones, which are damaged, are renamed, with a warning. None if there is none.

  Raises:
    UserError: a checkpoint can't be read for another reason than damage.
  """
  folder = epath.Path(manager.directory)
  for step in sorted(manager.all_steps(), reverse=True):
    try:
      return restore(folder / str(step), shapes, shardings)
    except DamagedCheckpoint as error:
      name = processes.run_on_first_process(
        f"setting step {step} aside", lambda step=step: steps.set_aside(folder, step)
      )
      logging.warning("%s. It is renamed to %s, the one before is taken", error, name)
      manager.reload()
  return None


def restore(
  path: epath.Path, shapes: TrainState, shardings: TrainState
) -> tuple[TrainState, dict[str, Any]]:
  """Reads a checkpoint with the given shardings.

  Raises:
    DamagedCheckpoint: it can't be read, or is not what was saved.
  """
  abstract = _with_shardings(shapes, shardings)
  metadata = _read_metadata(path)
  arrays = _read_arrays(
    path,
    metadata,
    {"params": abstract.params, "optimizer": _to_plain(abstract.opt_state)},
  )
  opt_state = _from_plain(abstract.opt_state, arrays["optimizer"])
  count = jax.device_put(jax.numpy.int32(int(path.name)), shardings.step)
  return TrainState(count, arrays["params"], opt_state), metadata


def _read_metadata(path: epath.Path) -> dict[str, Any]:
  metadata = steps.read_metadata(path)
  if metadata.get("format") not in (1, FORMAT):
    raise UserError(
      f"{path} has checkpoint format {metadata.get('format')}; this version reads "
      f"formats 1 to {FORMAT}"
    )
  return metadata


def _read_arrays(
  path: epath.Path, metadata: dict[str, Any], abstract: dict[str, Any]
) -> dict[str, Any]:
  """Reads items by name, with the shapes and shardings of nested dicts.

  Raises:
    DamagedCheckpoint: they can't be read, or are not what was saved.
    UserError: they can't be read: no memory or no permission.
  """
  is_old = metadata["format"] == 1
  if is_old:
    abstract = parameter_names.to_format_1(abstract)
  args = {name: ocp.args.StandardRestore(tree) for name, tree in abstract.items()}
  failure = None
  with quiet.hidden_coroutines():
    try:
      with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        items = reader.restore(path, args=ocp.args.Composite(**args))
    except Exception as error:
      failure = restore_errors.failure(path, error)
  if failure is not None:  # raised here, it does not keep the library's error alive
    raise failure
  arrays = {name: items[name] for name in abstract}
  if found := checksums.problem(arrays, metadata.get("checksums", {})):
    raise DamagedCheckpoint(f"{path} is damaged: {found}")
  return parameter_names.from_format_1(arrays) if is_old else arrays


def list_steps(path: str) -> tuple[epath.Path, list[int]]:
  """Returns the folder of a run's checkpoints and their steps in ascending order.

  Raises:
    UserError: there is no checkpoint.
  """
  folder, _ = find_checkpoint(path)
  return folder, steps.list_complete(folder)


def find_checkpoint(path: str) -> tuple[epath.Path, int]:
  """Finds the newest checkpoint at `path`.

  Args:
    path: a run's folder, its folder of checkpoints, or one checkpoint.

  Returns:
    The folder of checkpoints and the step.

  Raises:
    UserError: there is none.
  """
  place = epath.Path(path).absolute()
  if not place.exists():
    raise UserError(f"there is no checkpoint at {path}: the path doesn't exist")
  if _is_step(place):
    return place.parent, int(place.name)
  for folder in (place / "checkpoints", place):
    if found := steps.list_complete(folder):
      return folder, found[-1]
  raise UserError(
    f"there is no checkpoint at {path}: name the folder of a run that was trained"
  )


def _is_step(place: epath.Path) -> bool:
  return place.name in map(str, steps.list_complete(place.parent))


def is_finished(workdir: str, step: int, patience: int = 0) -> bool:
  """Returns whether a run has a checkpoint of `step` or later, or has ended early.

  Args:
    workdir: of the run.
    step: the last one.
    patience: `train.patience`.
  """
  folder = checkpoints_folder(workdir)
  found = steps.list_complete(folder)
  if not found or found[-1] >= step or not patience:
    return bool(found) and found[-1] >= step
  since = steps.read_metadata(folder / str(found[-1])).get("evaluations_since_best", 0)
  return since >= patience


def vocabulary_folder(path: str) -> epath.Path:
  """Returns the folder of the vocabulary that belongs to the weights at `path`."""
  if hf_folder.is_hf_folder(path):
    return epath.Path(path).absolute()
  return find_checkpoint(path)[0] / "vocabulary"


def size_names() -> list[str]:
  """Returns the fields of `ModelConfig` that weights determine."""
  fields = dataclasses.fields(ModelConfig)
  return [field.name for field in fields if field.name not in NOT_SIZES]


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
    config = _model_config(steps.read_metadata(folder / str(step)))
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
  if _is_step(epath.Path(path).absolute()):
    return _load_step(folder, step, param_shardings)
  damaged: dict[int, UserError] = {}
  # A run that goes on may remove a checkpoint while it is read: list them each time.
  while left := [step for step in steps.list_complete(folder) if step not in damaged]:
    try:
      loaded = _load_step(folder, left[-1], param_shardings)
    except DamagedCheckpoint as error:
      damaged[left[-1]] = error
      continue
    for step in damaged.keys() & set(steps.list_complete(folder)):
      if step > left[-1]:
        logging.warning("%s. Step %d is taken", damaged[step], left[-1])
    return loaded
  raise damaged[max(damaged)]


def _load_step(
  folder: epath.Path,
  step: int,
  param_shardings: Callable[[ModelConfig], dict] | None,
) -> LoadedCheckpoint:
  path = folder / str(step)
  metadata = _read_metadata(path)
  config = _model_config(metadata)
  shapes = jax.eval_shape(lambda: elmer.initialise(config, 0))
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  shardings = (
    param_shardings(config)
    if param_shardings
    else jax.tree.map(lambda _: device, shapes)
  )
  abstract = _with_shardings(shapes, shardings)
  params = _read_arrays(path, metadata, {"params": abstract})["params"]
  gate = gate_file.read(path, config)
  graph_settings = None
  if metadata["objective"]["name"] == "dag":
    options = dag.get_options(metadata["objective"])
    graph_settings = dag_settings.read(path, options, config.vocabulary_size)
  metadata |= {"step": step}
  vocabulary = folder / "vocabulary"
  return LoadedCheckpoint(config, params, metadata, vocabulary, gate, graph_settings)


def _model_config(metadata: dict[str, Any]) -> ModelConfig:
  try:
    return ModelConfig(**metadata["model"])
  except (KeyError, TypeError) as error:
    raise DamagedCheckpoint(
      f"the metadata of a checkpoint is damaged: {error}"
    ) from None


def save_params(
  path: str, config: ModelConfig, params: dict, metadata: dict[str, Any], step: int = 0
) -> None:
  """Writes weights without an optimizer's state as checkpoint `step` of a folder."""
  metadata = {**metadata, "format": FORMAT, "model": model_sizes(config)}
  folder = epath.Path(path).absolute()
  with steps.open_manager(folder, in_background=False) as manager:
    manager.save(step, args=_to_save({"params": params}, metadata), force=True)


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
