# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The notebook: it runs from top to bottom, and its outputs are those of a run."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from elmer_jax.reports import notebook

_NOTEBOOK = Path(__file__).parents[2] / "launch" / "elmer_colab.ipynb"


def _width_and_height(png: bytes) -> tuple[int, int]:
  assert png.startswith(b"\x89PNG")
  return struct.unpack(">II", png[16:24])


def test_curves_are_drawn_before_and_while_a_run_writes(tmp_path):
  metrics = tmp_path / "metrics.jsonl"
  empty = notebook.curves(metrics)
  lines = [{"step": 0, "split": "validation", "loss": 8.0}]
  lines += [{"step": step, "split": "train", "loss": 7.0} for step in (1, 2)]
  metrics.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 3, "spl')
  drawn = notebook.curves(metrics)
  assert _width_and_height(drawn) == _width_and_height(empty)
  assert drawn != empty


def test_exit_map_grows_with_the_text_and_the_layers():
  words = [["a", "long", "word"], ["the", "long", "word"]]
  sure_LxT = np.full((2, 3), 0.5)
  width, height = _width_and_height(notebook.exit_map(words, sure_LxT))
  taller = notebook.exit_map([*words, words[1]], np.full((3, 3), 0.5))
  longer = notebook.exit_map([row * 2 for row in words], np.full((2, 6), 0.5))
  assert _width_and_height(taller)[1] > height
  assert _width_and_height(longer)[0] > width


def test_outputs_of_a_real_run_are_kept():
  cells = json.loads(_NOTEBOOK.read_text())["cells"]
  code = [cell for cell in cells if cell["cell_type"] == "code"]
  numbers = [cell["execution_count"] for cell in code]
  assert numbers == list(range(1, len(code) + 1))
  outputs = [output for cell in code for output in cell["outputs"]]
  assert not [o for o in outputs if o["output_type"] == "error"]
  assert sum("image/png" in o.get("data", {}) for o in outputs) >= 3


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(tmp_path):
  nbclient = pytest.importorskip("nbclient")
  nbformat = pytest.importorskip("nbformat")
  (tmp_path / "checkout").symlink_to(_NOTEBOOK.parent.parent)
  cells = nbformat.read(_NOTEBOOK, as_version=4)
  client = nbclient.NotebookClient(
    cells, timeout=900, resources={"metadata": {"path": str(tmp_path)}}
  )
  client.execute()
