# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Errors, paths, atomic files, the compilation cache, the log: no model, no data."""
