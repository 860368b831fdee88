# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Several ways to train and decode, side by side: what `compare` is made of."""
