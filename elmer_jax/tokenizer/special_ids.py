# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Special tokens in BART's id order; the mask token has the last id of a vocabulary."""

BOS_ID, PAD_ID, EOS_ID, UNK_ID = 0, 1, 2, 3

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
MASK_TOKEN = "<mask>"
