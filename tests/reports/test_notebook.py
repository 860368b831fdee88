# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The notebook and its figures."""

import json
import re
import struct
from pathlib import Path

import pytest

from elmer_jax.reports import notebook

_NOTEBOOK = Path(__file__).parents[2] / "launch" / "elmer_colab.ipynb"


def _width_and_height(png: bytes) -> tuple[int, int]:
  assert png.startswith(b"\x89PNG")
  return struct.unpack(">II", png[16:24])


def test_curves_are_drawn_before_and_while_a_run_writes(tmp_path):
  metrics = tmp_path / "metrics.jsonl"
  empty = notebook.loss_curves(metrics)
  lines = [{"step": 0, "split": "validation", "loss": 8.0}]
  lines += [{"step": step, "split": "train", "loss": 7.0} for step in (1, 2)]
  metrics.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 3, "spl')
  drawn = notebook.loss_curves(metrics)
  assert _width_and_height(drawn) == _width_and_height(empty)
  assert drawn != empty


def test_an_exit_map_colours_each_token_by_its_exit_layer():
  layers = [["a", " long", " word"], ["the", " long", " word"]]
  markup = notebook.exit_map_html(layers)
  assert re.findall(r'"token layer-(\d)" title', markup) == ["2", "1", "1"]
  assert "67%" in markup and "33%" in markup  # of the tokens exit at layers 1 and 2
  # The styles apply to the exit map alone.
  style = re.search(r"<style>(.*)</style>", markup, flags=re.S)[1]
  assert style.startswith(".elmer-jax{") and style.count("{") == style.count("}")


def test_the_notebook_has_the_outputs_of_a_run():
  cells = json.loads(_NOTEBOOK.read_text())["cells"]
  code = [cell for cell in cells if cell["cell_type"] == "code"]
  numbers = [cell["execution_count"] for cell in code]
  assert numbers == list(range(1, len(code) + 1))
  outputs = [output for cell in code for output in cell["outputs"]]
  assert not [o for o in outputs if o["output_type"] == "error"]
  assert sum("image/png" in o.get("data", {}) for o in outputs) == 2


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
  nbclient = pytest.importorskip("nbclient")
  nbformat = pytest.importorskip("nbformat")
  (tmp_path / "checkout").symlink_to(_NOTEBOOK.parent.parent)
  cells = nbformat.read(_NOTEBOOK, as_version=4)
  client = nbclient.NotebookClient(
    cells, timeout=900, resources={"metadata": {"path": str(tmp_path)}}
  )
  client.execute()
