# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Training: optimizer, the sharded step, checkpoints, metrics and the loop."""
