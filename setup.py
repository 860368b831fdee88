# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The list of packages; everything else is in pyproject.toml.

The folder configs/ becomes a part of the package, elmer_jax/configs, in a wheel.
"""

from setuptools import find_packages, setup

setup(
  packages=[*find_packages(include=["elmer_jax*"]), "elmer_jax.configs"],
  package_dir={"elmer_jax.configs": "configs"},
)
