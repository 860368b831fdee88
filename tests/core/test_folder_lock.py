# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A folder has one writer; the lock of a process that was killed is taken over."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from elmer_jax.core.errors import UserError
from elmer_jax.core.folder_lock import locked

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from elmer_jax.core.folder_lock import locked
with locked(sys.argv[1]):
  print("locked", flush=True)
  time.sleep(60)
"""


def test_a_second_writer_is_refused_until_the_first_has_ended(tmp_path, caplog):
  folder = tmp_path / "run"
  owner = subprocess.Popen(
    [sys.executable, "-c", OWNER, str(folder)],
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    stdout=subprocess.PIPE,
    text=True,
  )
  assert owner.stdout.readline() == "locked\n"
  with pytest.raises(UserError, match=f"in use by process {owner.pid} on"):
    locked(str(folder)).__enter__()
  owner.send_signal(signal.SIGKILL)
  owner.communicate()
  with caplog.at_level(logging.INFO, "absl"), locked(str(folder)):
    assert f"process {owner.pid} on" in caplog.text
    with pytest.raises(UserError, match=f"process {os.getpid()} on"):
      locked(str(folder)).__enter__()
  assert not list(folder.iterdir())
  with locked(str(folder)):
    pass


def test_a_folder_that_can_not_be_made_is_one_line(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="can't be written"):
    locked(str(tmp_path / "file")).__enter__()
