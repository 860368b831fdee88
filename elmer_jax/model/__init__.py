# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The model: a BART encoder-decoder with an off-ramp after every decoder layer.

Names of arrays end with their shape, one letter per axis:

  B  sequences of a batch     D  model width           V  vocabulary (padded)
  S  source positions         H  attention heads       L  decoder layers
  T  target positions         K  size of a head        F  feed-forward width

`hidden_BxTxD` is a float array [B, T, D]; `mask_BxS` a bool array, true for tokens.
"""
