# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Where arrays live: the mesh of devices, and rules from logical axes to it."""
