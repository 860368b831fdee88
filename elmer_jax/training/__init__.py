# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Training: the loop, the sharded step, the optimizer, validation and metrics."""
