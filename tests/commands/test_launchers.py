# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Slurm, Kubernetes and SkyPilot: statuses decide what starts again.

Programs of the clusters are replaced by substitutes.
"""

import json
import os
import re
import shutil
import string
import subprocess
from pathlib import Path

import pytest
import yaml

from elmer_jax.__main__ import COMMANDS

LAUNCH = Path(__file__).parents[2] / "launch"


def script(path: Path, *lines: str) -> None:
  path.write_text("\n".join(["#!/usr/bin/env bash", *lines, ""]))
  path.chmod(0o755)


def submit(folder: Path, status: int, *arguments: str):
  """Runs slurm.sbatch with a command that ends with `status`."""
  (folder / "launch").mkdir(exist_ok=True)
  shutil.copy(LAUNCH / "slurm.sbatch", folder / "spooled")
  shutil.copy(LAUNCH / "overlap_flags.txt", folder / "launch")
  script(folder / "launch" / "install.sh", 'echo "install $*" >>calls', "echo python")
  options = 'echo "$XLA_FLAGS" >options'
  script(folder / "srun", 'echo "srun $*" >>calls', options, f"exit {status}")
  script(folder / "scontrol", 'echo "scontrol $*" >>calls')
  path = f"{folder}:{os.environ['PATH']}"
  slurm = {"PATH": path, "SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_ID": "7"}
  done = subprocess.run(
    ["bash", str(folder / "spooled"), *arguments],
    env=os.environ | slurm,
    capture_output=True,
    text=True,
    cwd="/",
  )
  calls = folder / "calls"
  return done, calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize(("status", "requeued"), [(0, 0), (75, 1), (2, 0), (1, 0)])
def test_slurm_queues_a_run_again_that_was_stopped(tmp_path, status, requeued):
  done, calls = submit(tmp_path, status, "train", "--workdir=a b")
  assert done.returncode == status, done.stderr
  assert calls[:2] == [
    "install auto",
    "srun --kill-on-bad-exit=1 python -m elmer_jax.train --workdir=a b "
    "--distributed=auto",
  ]
  assert calls[2:] == ["scontrol requeue 7"] * requeued
  options = (tmp_path / "options").read_text()
  assert "--xla_gpu_enable_latency_hiding_scheduler=true" in options


def test_slurm_needs_a_command(tmp_path):
  done, _ = submit(tmp_path, 0, "--workdir=w")
  assert done.returncode == 2 and "usage: sbatch" in done.stderr


@pytest.mark.parametrize(
  ("gpus", "extras", "installed"),
  [
    ("GPU 0: NVIDIA H200", ["auto", "test"], ".[cuda,test]"),
    ("No devices found", ["auto"], "."),
    (None, ["auto", "test"], ".[test]"),
    ("GPU 0: NVIDIA H200", [], "."),
  ],
)
def test_auto_installs_for_the_gpus_of_the_machine(tmp_path, gpus, extras, installed):
  (tmp_path / "launch").mkdir()
  shutil.copy(LAUNCH / "install.sh", tmp_path / "launch")
  for name in ("requirements.txt", "pyproject.toml", "setup.py"):
    (tmp_path / name).touch()
  (tmp_path / "launch" / "constraints.txt").touch()
  (tmp_path / ".venv" / "bin").mkdir(parents=True)
  script(tmp_path / ".venv" / "bin" / "python", f'echo "$*" >>{tmp_path}/calls')
  if gpus:
    script(tmp_path / "nvidia-smi", f"echo '{gpus}'")
  path = f"{tmp_path}:{os.environ['PATH']}"
  command = ["bash", str(tmp_path / "launch" / "install.sh"), *extras]
  subprocess.run(command, env=os.environ | {"PATH": path}, check=True)
  assert (tmp_path / "calls").read_text().splitlines()[-1].endswith(f" {installed}")


def filled(name: str) -> dict:
  """Returns a manifest with the values that its first lines export."""
  text = (LAUNCH / name).read_text()
  values = dict(re.findall(r"([A-Z]+)=('[^']*'|[^ \n]+)", text.split("apiVersion")[0]))
  values = {name: value.strip("'") for name, value in values.items()}
  return yaml.safe_load(string.Template(text.replace("$(", "$$(")).substitute(values))


@pytest.mark.parametrize("name", ["jobset_gpu.yaml", "jobset_tpu.yaml"])
def test_a_jobset_ends_after_wrong_input_alone(name):
  manifest = filled(name)
  assert (manifest["apiVersion"], manifest["kind"]) == (
    "jobset.x-k8s.io/v1alpha2",
    "JobSet",
  )
  [replicated] = manifest["spec"]["replicatedJobs"]
  job = replicated["template"]["spec"]
  [rule] = job["podFailurePolicy"]["rules"]
  pod = job["template"]["spec"]
  [container] = pod["containers"]
  assert rule["action"] == "FailJob" and rule["onExitCodes"]["values"] == [2]
  assert rule["onExitCodes"]["containerName"] == container["name"]
  assert pod["restartPolicy"] == "Never" and job["backoffLimit"] == 0
  [rule] = manifest["spec"]["failurePolicy"]["rules"]
  assert rule == {"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
  [command] = container["args"]
  assert command.startswith("exec python -m elmer_jax train --config=pretrain_base ")
  assert {v["name"] for v in pod["volumes"]} == {
    mount["name"] for mount in container["volumeMounts"]
  }


def test_processes_of_a_jobset_meet_at_the_first_pod():
  manifest = filled("jobset_gpu.yaml")
  [replicated] = manifest["spec"]["replicatedJobs"]
  name = manifest["metadata"]["name"]
  [container] = replicated["template"]["spec"]["template"]["spec"]["containers"]
  assert container["args"][0].endswith(
    f"--distributed={name}-{replicated['name']}-0-0.{name}:8476,2,$(JOB_COMPLETION_INDEX)"
  )


def test_skypilot_starts_a_stopped_run_again():
  task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
  assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [75]
  assert task["envs"]["FLAGS"].split()[0] in COMMANDS
  subprocess.run(["bash", "-n"], input=task["run"], text=True, check=True)


def test_skypilot_reads_its_file():
  sky = pytest.importorskip("sky")
  task = sky.Task.from_yaml(str(LAUNCH / "skypilot.yaml"))
  assert task.name == "elmer" and json.dumps(task.envs)


def test_the_image_has_what_it_copies():
  text = (LAUNCH / "Dockerfile").read_text()
  assert "--constraint launch/constraints.txt" in text
  assert 'ENTRYPOINT ["python", "-m", "elmer_jax"]' in text
  ignored = (LAUNCH.parent / ".dockerignore").read_text().split()
  assert ".git" in ignored and "launch" not in ignored
