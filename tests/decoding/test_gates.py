# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Fitting a gate and choosing its threshold."""

import jax
import numpy as np
import pytest
import tiny
import tiny_run
from etils import epath

from elmer_jax.core.errors import UserError
from elmer_jax.decoding import decoding_model
from elmer_jax.decoding.gate import gate_file, gate_fitting, gated_decoding
from elmer_jax.decoding.gate.gate_file import Calibrated
from elmer_jax.model import elmer
from elmer_jax.tokenizer.special_ids import EOS_ID, PAD_ID

CONFIG = tiny.model_config(model__decoder_layers=4, model__norm="pre")


def outcomes() -> gate_fitting.Outcomes:
  """Ten texts: the first six are as good from layer 2 on, the rest at layer 4 only."""
  easy = np.arange(10) < 6
  settled_NxL = np.where(easy[:, None], [[0.3, 0.9, 0.95]], [[0.1, 0.2, 0.4]])
  quality_NxL = np.where(easy[:, None], [[20.0, 50, 50, 50]], [[0.0, 10, 20, 40]])
  return gate_fitting.Outcomes(settled_NxL, quality_NxL, quality_NxL[:, -1])


def test_the_cheapest_threshold_within_the_stated_loss_is_chosen():
  rows = gate_fitting.gate_rows(outcomes(), confidence=0.5)
  chosen = gate_fitting.choose(rows, loss=0.0)
  assert 0.4 <= chosen.threshold < 0.9
  assert chosen.layers == pytest.approx(0.6 * 2 + 0.4 * 4)
  assert chosen.loss == 0
  # Layer 3 for the hard texts costs them 20 points, 8 on average.
  looser = gate_fitting.choose(rows, loss=8.0)
  assert looser.layers == pytest.approx(0.6 * 2 + 0.4 * 3)
  assert looser.loss == pytest.approx(8.0)
  assert gate_fitting.choose(rows, loss=7.9) == chosen


def test_confidence_makes_the_choice_more_careful():
  sure = gate_fitting.choose(
    gate_fitting.gate_rows(outcomes(), confidence=0.95), loss=8.0
  )
  assert sure.layers == pytest.approx(0.6 * 2 + 0.4 * 4)


def test_no_static_depth_keeps_what_the_gate_keeps():
  static = gate_fitting.static_rows(outcomes(), confidence=0.5)
  assert [row.layers for row in static] == [1, 2, 3, 4]
  assert [round(row.loss, 3) for row in static] == [34.0, 12.0, 8.0, 0.0]


def test_no_text_goes_beyond_the_layers_that_are_worth_it():
  """Hard texts gain nothing above layer 3 where quality is that of layer 3."""
  easy, settled_NxL, _ = np.arange(10) < 6, *outcomes()[:2]
  quality_NxL = np.where(easy[:, None], [[20.0, 50, 50, 50]], [[0.0, 10, 40, 40]])
  level = gate_fitting.Outcomes(settled_NxL, quality_NxL, quality_NxL[:, -1])
  chosen = gate_fitting.choose(gate_fitting.gate_rows(level, confidence=0.95), loss=0.0)
  assert chosen.most == 3 and chosen.threshold < 0.9
  assert chosen.layers == pytest.approx(0.6 * 2 + 0.4 * 3)


def test_labels_end_with_the_last_layers_text():
  final = [5, 6, EOS_ID, 7, EOS_ID, PAD_ID]
  lower = [5, 9, EOS_ID, 7, 8, PAD_ID]
  wanted = gate_fitting.labels(np.array([[lower], [final]], np.int32))
  assert wanted.settled[0, 0].tolist() == [True, False, True, True, False, True]
  assert wanted.behind[0].tolist() == [False, False, False, True, True, True]


def test_a_fitted_gate_tells_settled_texts_from_others():
  params = tiny_run.listening(elmer.initialise(CONFIG, 0))
  params = decoding_model.prepare(CONFIG, params)
  sources = [tiny.batch(rows=16, seed=n)["source_ids"] for n in range(9)]
  gate = gate_fitting.fit(CONFIG, params, sources[:8], 12)
  short = []
  for batch in sources[:8]:
    seen = gated_decoding.observe(CONFIG, params, batch, length=12)
    length_B = (~gate_fitting.labels(seen.ids_LxBxT).behind).sum(-1)
    short.append(
      gated_decoding.score_layers(gate, seen).length_B + gated_decoding.MARGIN
      < length_B[None]
    )
  assert np.mean(short) <= 0.02
  found = gated_decoding.observe(CONFIG, params, sources[8], length=12)
  verdict = gated_decoding.score_layers(gate, found)
  settled_LxBxT, behind_BxT = gate_fitting.labels(found.ids_LxBxT)
  settled_LxBxT, text_BxT = np.asarray(settled_LxBxT), ~np.asarray(behind_BxT)
  true_LxB = (settled_LxBxT * text_BxT).sum(-1) / text_BxT.sum(-1)
  a, b = np.asarray(true_LxB).ravel(), np.asarray(verdict.stable_B).ravel()
  assert np.corrcoef(a, b)[0, 1] > 0.5


def test_a_gate_is_stored_with_its_checkpoint(tmp_path):
  folder = epath.Path(tmp_path)
  shape = (3, CONFIG.d_model, 2)
  gate = gated_decoding.Gate(
    np.random.default_rng(0).normal(size=shape), np.ones((3, 2)), np.ones(3)
  )
  gate = jax.tree.map(lambda a: jax.numpy.asarray(a, np.float32), gate)
  assert gate_file.read(folder, CONFIG) is None
  gate_file.write(folder, Calibrated(gate, 0.75, 2, {"measure": "rougeL"}))
  found = gate_file.read(folder, CONFIG)
  assert found[1:] == (0.75, 2, {"measure": "rougeL"})
  for a, b in zip(found.gate, gate, strict=True):
    np.testing.assert_array_equal(a, b)
  other = tiny.model_config(model__decoder_layers=3, model__norm="pre")
  with pytest.raises(UserError, match="belongs to another model"):
    gate_file.read(folder, other)
  (folder / "gate.npz").write_bytes(b"PK broken")
  with pytest.raises(UserError, match="can't be read"):
    gate_file.read(folder, CONFIG)
