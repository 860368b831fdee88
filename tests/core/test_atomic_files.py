# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Output goes where a shell's `>` would send it, and is whole or absent."""

import os
import stat
import threading

import pytest

from elmer_jax.core import atomic_files
from elmer_jax.core.atomic_files import replacing, write_whole
from elmer_jax.core.errors import UserError


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_a_new_file_is_whole_or_absent(tmp_path):
  with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a" / "x") as temporary:
    temporary.write_text("half")
    raise ZeroDivisionError
  assert names(tmp_path / "a") == []
  write_whole(tmp_path / "a" / "x", "whole")
  assert (tmp_path / "a" / "x").read_text() == "whole"
  umask = os.umask(0o022)
  os.umask(umask)
  assert stat.S_IMODE((tmp_path / "a" / "x").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_keeps_its_mode(tmp_path, mode):
  path = tmp_path / "x"
  path.touch()
  path.chmod(mode)
  with replacing(path) as temporary:
    # Nobody may read what is written either.
    assert stat.S_IMODE(temporary.stat().st_mode) == mode
    temporary.unlink()  # as a library may that writes a file of its own
    temporary.write_text("new")
  assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == mode


def test_links_are_followed(tmp_path):
  (tmp_path / "real").mkdir()
  (tmp_path / "real" / "file").write_text("old")
  (tmp_path / "second").symlink_to("real/file")
  (tmp_path / "first").symlink_to(tmp_path / "second")
  (tmp_path / "dangling").symlink_to("real/new")
  write_whole(tmp_path / "first", "new")
  write_whole(tmp_path / "dangling", "made")
  assert (tmp_path / "first").is_symlink() and (tmp_path / "second").is_symlink()
  assert (tmp_path / "real" / "file").read_text() == "new"
  assert (tmp_path / "real" / "new").read_text() == "made"
  (tmp_path / "loop").symlink_to("loop")
  with pytest.raises(UserError, match="loop can't be written: too many links"):
    write_whole(tmp_path / "loop", "")


def test_a_named_pipe_is_written_to(tmp_path):
  path = tmp_path / "pipe"
  os.mkfifo(path)
  read = []
  reader = threading.Thread(target=lambda: read.append(path.read_text()), daemon=True)
  reader.start()
  write_whole(path, "through")
  reader.join(10)
  assert read == ["through"] and path.is_fifo() and names(tmp_path) == ["pipe"]


def test_a_device_is_written_to(tmp_path):
  path = tmp_path / "null"
  try:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # a copy of /dev/null
    path.write_text("")
  except OSError:
    pytest.skip("devices can't be made here")
  write_whole(path, "nowhere")
  assert path.is_char_device() and names(tmp_path) == ["null"]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_an_open_descriptor_is_written_to(tmp_path):
  reader, writer = os.pipe()
  link = tmp_path / "link"
  link.symlink_to(f"/proc/self/fd/{writer}")
  write_whole(link, "through")
  os.close(writer)
  with os.fdopen(reader) as file:
    assert file.read() == "through"
  # A descriptor of a file is that file: it is not replaced by another one.
  with (tmp_path / "file").open("w+") as file:
    write_whole(atomic_files.pathlib.Path(f"/proc/self/fd/{file.fileno()}"), "text")
    assert file.read() == "text"


def test_a_folder_is_refused_at_once(tmp_path):
  with (
    pytest.raises(UserError, match="can't be written: it is a folder"),
    replacing(tmp_path),
  ):
    raise AssertionError("nothing should have been computed")


def test_a_planted_link_under_a_temporary_name_harms_nothing(tmp_path, monkeypatch):
  victim = tmp_path / "victim"
  victim.write_text("precious")
  monkeypatch.setattr(atomic_files.secrets, "token_hex", lambda _: "guessed")
  with replacing(tmp_path / "x") as temporary:
    planted = temporary.name
  (tmp_path / "x").unlink()
  (tmp_path / planted).symlink_to(victim)
  with pytest.raises(UserError, match="x can't be written"):
    write_whole(tmp_path / "x", "anything")
  assert victim.read_text() == "precious" and not (tmp_path / "x").exists()
