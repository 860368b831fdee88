# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Figures for notebooks: loss curves that grow during training, and exit maps."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from elmer_jax.core.errors import UserError
from elmer_jax.decoding.decoded import stable_layers
from elmer_jax.reports import exit_map, html_page, plots, read_run


@contextlib.contextmanager
def live_curves(workdir: str, every: float = 2.0) -> Iterator[None]:
  """Draws the loss of the run in `workdir` every few seconds, in one picture.

      with live_curves("W/pretrain"):
        !python -m elmer_jax.train --config=... --workdir=W/pretrain

  Args:
    workdir: of the run; it need not exist yet.
    every: seconds between two pictures.

  Raises:
    UserError: nothing was trained by the end.
  """
  from IPython import display

  metrics = Path(workdir) / "metrics.jsonl"
  handle = display.display(display.Image(loss_curves(metrics)), display_id=True)
  done = threading.Event()

  def follow() -> None:
    while not done.wait(every):
      handle.update(display.Image(loss_curves(metrics)))

  follower = threading.Thread(target=follow, daemon=True)
  follower.start()
  try:
    yield
  finally:
    done.set()
    follower.join()
    handle.update(display.Image(loss_curves(metrics)))
  if not metrics.exists():
    raise UserError(f"nothing was trained in {workdir}: see the output above")


def loss_curves(path: Path) -> bytes:
  """Returns a PNG of the training and validation loss in a `metrics.jsonl`."""
  metrics = read_run.read_metrics(path) if path.exists() else read_run.Metrics()
  train, validation = (metrics.curve(s, "loss") for s in ("train", "validation"))
  return plots.loss(train, validation, []).png()


def exit_map_html(layers: Sequence[Sequence[str]]) -> str:
  """Returns the exit map of a text for `IPython.display.HTML`.

  Args:
    layers: [decoder layer][position], the predictions as printable pieces.
  """
  exit_layers = (stable_layers(np.array(layers)) + 1).tolist()
  body = exit_map.legend(len(layers), exit_layers)
  body += exit_map.exit_map(layers, exit_layers, is_open=True)
  return html_page.notebook_fragment(body, len(layers))
