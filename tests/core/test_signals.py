# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A signal ends a command with one line and its status, whatever it is doing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = """
import ctypes, signal, sys, time
from elmer_jax.commands import runner
from elmer_jax.core import signals

def main():
  {body}

runner.run_flags(main)
"""
WAIT = "print('ready', flush=True); time.sleep(60)"
# As in a compiler: Python's handlers do not run before it returns.
COMPILED = f"signal.pthread_sigmask(signal.SIG_BLOCK, signals.STATUS); {WAIT}"
SAVE = """
  with signals.deferred():
    print("ready", flush=True)
    while signals.received() is None:
      time.sleep(0.01)
    time.sleep({seconds})
    print("saved", flush=True)
"""


def run(body: str, *numbers: signal.Signals) -> tuple[int, str, str]:
  """Sends signals to a command; returns its status, its output and its errors."""
  process = subprocess.Popen(
    [sys.executable, "-c", COMMAND.format(body=body)],
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == "ready\n"
  for number in numbers:
    process.send_signal(number)
    time.sleep(0.3)
  output, errors = process.communicate(timeout=30)
  return process.returncode, output, errors


@pytest.mark.parametrize(
  ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)]
)
@pytest.mark.parametrize("body", [WAIT, COMPILED])
def test_a_signal_ends_a_command_with_a_line(body, number, status):
  assert run(body, number) == (status, "", f"stopped by {number.name}\n")


def test_a_deferred_signal_ends_the_command_once_the_work_is_saved():
  status, output, errors = run(SAVE.format(seconds=0.5), signal.SIGTERM)
  assert (status, output) == (75, "saved\n")
  assert errors.splitlines()[-1] == "stopped by SIGTERM"
  assert "Traceback" not in errors


def test_a_second_interrupt_ends_at_once():
  status, output, errors = run(SAVE.format(seconds=20), signal.SIGINT, signal.SIGINT)
  assert (status, output) == (130, "")
  assert "Traceback" not in errors
