# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Ids that mean the same in every vocabulary of BART's order; MASK is the last one."""

BOS_ID, PAD_ID, EOS_ID, UNK_ID = 0, 1, 2, 3
