# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Errors, whole files, the compilation cache, quiet logs: no model and no data."""
