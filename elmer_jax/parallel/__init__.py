# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Devices as a mesh, shardings of arrays over it, several processes as one run."""
