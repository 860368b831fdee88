# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Token ids on disk: ArrayRecord shards with random access by index."""
