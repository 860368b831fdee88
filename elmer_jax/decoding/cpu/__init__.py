# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""How decoding arranges weights and attention for CPUs; the results are the same."""
