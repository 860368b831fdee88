# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A damaged checkpoint is never used, and never lost: the one before it is taken."""

import json
import logging
import os
import random
import shutil
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
import tiny_text
from etils import epath

from elmer_jax.checkpoints import checksums, orbax_checkpoint, steps
from elmer_jax.checkpoints.train_state import TrainState
from elmer_jax.core.errors import UserError
from elmer_jax.model import elmer

CONFIG = tiny.model_config(330)
METADATA = {
  "model": orbax_checkpoint.model_sizes(CONFIG),
  "objective": {"name": "lplm"},
}


def state(step: int) -> TrainState:
  params = elmer.initialise(CONFIG, step)
  return TrainState(jnp.int32(step), params, optax.adam(1e-3).init(params))


def save(folder: epath.Path, saved: dict[int, float], **options) -> list[int]:
  """Saves steps with these validation losses; returns those that are kept."""
  config = tiny.configure()
  config.checkpoint.update(options)
  with steps.open_manager(folder, config.checkpoint) as manager:
    for step, loss in saved.items():
      orbax_checkpoint.save(manager, state(step), METADATA | {"validation_loss": loss})
      orbax_checkpoint.wait(manager)
  return steps.list_complete(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
  """A run with the checkpoints 2 and 4."""
  run = tmp_path_factory.mktemp("run")
  folder = orbax_checkpoint.checkpoints_folder(str(run))
  assert save(folder, {2: 1.0, 4: 2.0}) == [2, 4]
  tiny_text.vocabulary().save(folder / "vocabulary")
  return run


@pytest.fixture
def run(whole, tmp_path) -> Path:
  shutil.copytree(whole, tmp_path / "run")
  return tmp_path / "run"


def resume(run: Path) -> int | None:
  """Restores as a run does; returns the step and checks that all is as it was saved."""
  expected = state(0)
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  shardings = jax.tree.map(lambda _: device, expected)
  folder = orbax_checkpoint.checkpoints_folder(str(run))
  with steps.open_manager(folder) as manager:
    found = orbax_checkpoint.restore_newest(
      manager, jax.eval_shape(lambda: expected), shardings
    )
  if found is None:
    return None
  step = int(found[0].step)
  jax.tree.map(np.testing.assert_array_equal, found[0], state(step))
  return step


def files(folder: Path, least: int = 1) -> list[Path]:
  found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
  return [path for path in found if path.stat().st_size >= least]


def damage(folder: Path, seed: int) -> str:
  """Damages a checkpoint in one of several ways; returns what was done."""
  rng = random.Random(seed)
  path = rng.choice(files(folder))
  content = bytearray(path.read_bytes())
  way = ("flip", "cut", "empty", "remove", "remove folder", "empty folder")[seed % 6]
  if way == "flip":
    for _ in range(min(64, len(content))):
      content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
  elif way in ("cut", "empty"):
    path.write_bytes(content[: len(content) // 2 * (way == "cut")])
  elif way == "remove":
    path.unlink()
  else:
    target = rng.choice([p for p in folder.iterdir() if p.is_dir()])
    shutil.rmtree(target if way == "remove folder" else folder)
    folder.mkdir(exist_ok=True)
  return f"{way} {path.relative_to(folder)}"


@pytest.mark.parametrize(
  "seed", [*range(6), *(pytest.param(n, marks=pytest.mark.slow) for n in range(6, 60))]
)
def test_a_damaged_checkpoint_is_skipped(run, seed, caplog):
  newest = run / "checkpoints" / "4"
  done = damage(newest, seed)
  loaded = orbax_checkpoint.load(str(run))
  step = loaded.metadata["step"]
  jax.tree.map(np.testing.assert_array_equal, loaded.params, state(step).params)
  with caplog.at_level(logging.WARNING, "absl"):
    resumed = resume(run)
  assert resumed in (2, 4), done  # some files are not needed
  if resumed == 2:
    assert "damaged-4" in caplog.text
    assert sorted(p.name for p in newest.parent.iterdir()) == [
      *("2", "damaged-4", "vocabulary")
    ]


def test_flipped_bits_of_data_are_found(run):
  data = max(files(run / "checkpoints" / "4" / "params"), key=os.path.getsize)
  content = bytearray(data.read_bytes())
  content[len(content) // 2] ^= 1
  data.write_bytes(content)
  with pytest.raises(steps.DamagedCheckpoint, match="4 is damaged"):
    orbax_checkpoint.load(str(run / "checkpoints" / "4"))
  assert orbax_checkpoint.load(str(run)).metadata["step"] == 2


def test_a_stored_checksum_is_compared(run):
  file = run / "checkpoints" / "4" / "metadata" / "metadata"
  metadata = json.loads(file.read_text())
  metadata["checksums"]["params/tokens"] ^= 1
  file.write_text(json.dumps(metadata))
  with pytest.raises(UserError, match="params/tokens is not what was saved"):
    orbax_checkpoint.load(str(run / "checkpoints" / "4"))


def test_without_any_whole_checkpoint_nothing_is_restored(run):
  for step in (2, 4):
    shutil.rmtree(run / "checkpoints" / str(step) / "params")
  assert resume(run) is None
  with pytest.raises(UserError, match="there is no checkpoint"):
    orbax_checkpoint.load(str(run))


def test_foreign_entries_are_no_checkpoints(run):
  folder = run / "checkpoints"
  (folder / "98").write_text("")
  for name in ("99", "20251120", "٩", "²", "007", "5.orbax-checkpoint-tmp"):
    (folder / name).mkdir()
  assert steps.list_complete(epath.Path(folder)) == [2, 4]
  assert not orbax_checkpoint.is_finished(str(run), 5)
  assert orbax_checkpoint.load(str(run)).metadata["step"] == 4
  assert resume(run) == 4
  # A folder that Orbax takes for a checkpoint would keep it from saving.
  assert not {"99", "20251120", "5.orbax-checkpoint-tmp"} & set(os.listdir(folder))
  assert (folder / "damaged-99").is_dir()


def test_weights_that_are_not_finite_are_refused(tmp_path):
  folder = orbax_checkpoint.checkpoints_folder(str(tmp_path))
  params = elmer.initialise(CONFIG, 0)
  params["tokens"] = params["tokens"].at[3, 4].set(jnp.nan)
  orbax_checkpoint.save_params(str(folder), CONFIG, params, METADATA)
  with pytest.raises(UserError, match="params/tokens has numbers that are not finite"):
    orbax_checkpoint.load(str(tmp_path))


def test_checkpoints_are_kept_by_rank_by_step_and_by_loss(tmp_path):
  losses = {1: 5.0, 2: 1.0, 3: 3.0, 4: 4.0, 5: 6.0}
  kept = save(
    epath.Path(tmp_path), losses, every=1, max_to_keep=1, keep_every=3, keep_best=True
  )
  assert kept == [2, 3, 5]
  assert steps.best_step(epath.Path(tmp_path)) == 2


def test_a_checksum_is_of_bits_and_places():
  rng = np.random.default_rng(0)
  array = rng.standard_normal((3, 5)).astype(np.float32)

  def checksum(values: np.ndarray) -> int:
    return checksums.summaries({"a": {"b": jnp.asarray(values)}})["a/b"].checksum

  devices = jax.sharding.Mesh(np.array(jax.devices()[:3]), ("data",))
  spread = jax.device_put(
    array, jax.sharding.NamedSharding(devices, jax.sharding.PartitionSpec("data"))
  )
  assert checksum(spread) == checksum(array)
  changed = {checksum(array), checksum(array[::-1]), checksum(array.reshape(5, 3))}
  for bit in range(32):
    bits = array.copy().view(np.uint32)
    bits[1, 2] ^= np.uint32(1 << bit)
    changed.add(checksum(bits.view(np.float32)))
  bits = array.copy().view(np.uint32)
  bits ^= np.uint32(1 << 31)  # all signs at once
  changed.add(checksum(bits.view(np.float32)))
  assert len(changed) == 2 + 32 + 1


@pytest.mark.parametrize("count", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_a_run_can_be_read_while_it_saves(tmp_path, count):
  """Each save removes the checkpoint before it."""
  folder = orbax_checkpoint.checkpoints_folder(str(tmp_path))
  tiny_text.vocabulary().save(folder / "vocabulary")
  stop, saved = threading.Event(), []

  def write() -> None:
    options = tiny.configure(checkpoint__max_to_keep=1).checkpoint
    with steps.open_manager(folder, options) as manager:
      while not stop.is_set():
        saved.append(len(saved) + 1)
        orbax_checkpoint.save(manager, fixed._replace(step=saved[-1]), METADATA)

  fixed = state(0)
  writer = threading.Thread(target=write)
  writer.start()
  try:
    while not steps.list_complete(folder):
      time.sleep(0.01)
    read = [orbax_checkpoint.load(str(tmp_path)).metadata["step"] for _ in range(count)]
  finally:
    stop.set()
    writer.join()
  assert read == sorted(read) and read[-1] > read[0], (read, saved)
