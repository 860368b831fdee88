# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics go to Weights & Biases only where a project is named."""

import importlib.util
import sys

import pytest
import tiny

from elmer_jax.core.errors import UserError
from elmer_jax.training import wandb_run
from elmer_jax.training.metric_writer import MetricWriter


def write(config, workdir, first_step: int) -> None:
  writer = MetricWriter(config, str(workdir), first_step)
  writer.write(first_step + 1, "train", {"loss": 2.0})
  writer.close()


def test_without_a_project_the_package_is_not_imported(tmp_path):
  config = tiny.configure()
  wandb_run.check(config)
  write(config, tmp_path, 0)
  assert "wandb" not in sys.modules
  assert [path.name for path in tmp_path.glob("wandb*")] == []


def test_a_missing_package_is_one_line(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match="log.wandb=elmer needs the package wandb"):
    wandb_run.check(tiny.configure(log__wandb="elmer"))


def test_both_starts_of_a_run_have_its_id_offline(tmp_path, monkeypatch):
  pytest.importorskip("wandb")
  monkeypatch.setenv("WANDB_MODE", "offline")
  config = tiny.configure(log__wandb="elmer")
  for first_step in (0, 1):
    write(config, tmp_path, first_step)
  [run_id] = (tmp_path / "wandb_id.txt").read_text().split()
  files = list((tmp_path / "wandb").rglob("*.wandb"))
  assert files and all(run_id in path.name for path in files)
