# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A process that ends early ends the others of its run, with a line that names it.

The connections of the rendezvous stay open for this. The system closes those of a
process that is killed at once; where a whole machine or its network is gone, TCP's
keepalive notices.
"""

import atexit
import contextlib
import os
import selectors
import socket
import threading
from collections.abc import Mapping
from typing import NoReturn

STATUS = os.EX_TEMPFAIL  # 75: the same command, started again, goes on
_PROBES = 3

_is_ending = threading.Event()


def watch(connections: Mapping[int, socket.socket], timeout: float) -> None:
  """Ends this process when one of the others has ended, until `stop_watching`.

  Args:
    connections: to the other processes by index, as `rendezvous.wait_for_all` returns
      them: process 0 is connected to all, and each other one to process 0.
    timeout: seconds after which a machine that no longer answers counts as lost.
  """
  interval = max(1, int(timeout) // (_PROBES + 1))
  for connection in connections.values():
    connection.setblocking(True)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # not on macOS
      connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, interval)
      connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
      connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
  threading.Thread(target=_watch, args=(dict(connections),), daemon=True).start()
  atexit.register(stop_watching)  # all processes wait for each other after this


def stop_watching() -> None:
  """From now on the other processes may end."""
  _is_ending.set()


def _watch(connections: dict[int, socket.socket]) -> None:
  with selectors.DefaultSelector() as selector:
    for index, connection in connections.items():
      selector.register(connection, selectors.EVENT_READ, index)
    [(key, _), *_] = selector.select()
  index = key.data
  message = b""
  with contextlib.suppress(OSError):  # no answer, or a reset connection
    message = key.fileobj.recv(64)
  if _is_ending.is_set():
    return
  # Process 0 names the lost process to the others before it ends.
  lost = message.decode("ascii", "replace").strip() or f"process {index}"
  for connection in connections.values():
    with contextlib.suppress(OSError):
      connection.settimeout(1)
      connection.sendall(f"{lost}\n".encode())
  _end(lost)


def _end(lost: str) -> NoReturn:
  line = (
    f"{lost} has ended: start all processes again to go on from the last checkpoint"
  )
  os.write(2, f"{line}\n".encode())
  os._exit(STATUS)
