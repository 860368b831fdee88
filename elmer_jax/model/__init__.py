# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The model: a BART-shaped encoder-decoder with an off-ramp at every decoder layer.

Names of arrays end with their shape, one letter an axis:

  B  sequences of a batch     D  model width           V  vocabulary (padded)
  S  source positions         H  attention heads       L  decoder layers
  T  target positions         K  size of a head        F  feed-forward width

`hidden_BxTxD` is a float array [B, T, D]; `mask_BxS` a bool array that is true where
there is a token.
"""
