# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM end a command with one line and a documented status.

130 after Ctrl-C (SIGINT), 75 (EX_TEMPFAIL) after SIGTERM: the same command, started
again, goes on. A second Ctrl-C ends the process at once.

A signal raises `Stopped` in the main thread. Training defers it to a step's end, where
it saves first. Python's handlers wait for compiled code to return, so a thread watches
the signals too: it ends a process that is still in such code some seconds later.
"""

import contextlib
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from absl import logging

STATUS = {signal.SIGINT: 130, signal.SIGTERM: os.EX_TEMPFAIL}
_GRACE_SECONDS = 5  # that a signal has to end the command, unless it is deferred


class Stopped(KeyboardInterrupt):
  """A signal ends the command; `str` is the line to print."""

  def __init__(self, number: int, done: str = ""):
    super().__init__(f"stopped by {signal.Signals(number).name}{done}")
    self.status = STATUS[number]


@dataclasses.dataclass
class _Signals:
  """What has arrived, and what is done with it; signals belong to the process."""

  received: int | None = None  # the first one
  is_reported: bool = False
  is_deferred: bool = False
  relay: Callable[[int], None] = lambda number: None  # called where it is deferred


_state = _Signals()


def install() -> None:
  """Handles the signals of this process from now on; called once, by a command."""
  reader, writer = os.pipe()
  os.set_blocking(writer, False)
  signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
  for number in STATUS:
    signal.signal(number, _handle)
  os.register_at_fork(after_in_child=_restore_defaults)
  threading.Thread(target=_watch, args=(reader,), daemon=True).start()


def received() -> int | None:
  """Returns the number of the first signal that has arrived, None without one."""
  return _state.received


def note(number: int) -> None:
  """Counts a signal that another process received as received."""
  _state.received = _state.received or number


@contextlib.contextmanager
def deferred(relay: Callable[[int], None] = lambda number: None) -> Iterator[None]:
  """Within the block a signal is only recorded; at its end it raises `Stopped`.

  Args:
    relay: called, in the main thread, with the number of each signal.
  """
  _state.is_deferred, _state.relay = True, relay
  try:
    yield
  finally:
    _state.is_deferred = False
  if _state.received:
    raise Stopped(_state.received)


@contextlib.contextmanager
def interrupts_blocked_in_children() -> Iterator[None]:
  """Processes that the block starts do not see Ctrl-C on the terminal."""
  before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end(stopped: Stopped) -> NoReturn:
  """Prints the line and exits."""
  _state.is_reported = True
  print(stopped, file=sys.stderr, flush=True)
  sys.exit(stopped.status)


def _handle(number: int, _) -> None:
  _state.received = _state.received or number
  if _state.is_deferred:
    _state.relay(number)
  else:
    raise Stopped(number)


def _watch(reader: int) -> None:
  interrupts = 0
  while True:
    [number] = os.read(reader, 1)
    if number not in STATUS:
      continue
    interrupts += number == signal.SIGINT
    if interrupts > 1:
      os._exit(STATUS[signal.SIGINT])
    if _state.is_deferred:
      logging.info("%s: saving", signal.Signals(number).name)
    else:
      timer = threading.Timer(_GRACE_SECONDS, _end_unless_deferred, (number,))
      timer.daemon = True
      timer.start()


def _end_unless_deferred(number: int) -> None:
  if _state.is_deferred:
    return
  if not _state.is_reported:
    os.write(2, f"{Stopped(number)}\n".encode())
  os._exit(STATUS[number])


def _restore_defaults() -> None:
  """In a forked process, which shares the pipe of the thread that watches."""
  signal.set_wakeup_fd(-1)
  for number in STATUS:
    signal.signal(number, signal.SIG_DFL)
