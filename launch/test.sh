#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
#
# [PYTHON=python3.12] bash launch/test.sh [pytest arguments]
#
# Installs what the tests need (see launch/install.sh), checks the installed versions,
# the formatting and the lint rules, and runs the tests in two processes, each with one
# file at a time. Long tests (-m slow) need the whole machine: add -n 0.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$(bash "$root/launch/install.sh" test)"

# Arguments such as tests/test_report.py are relative to the repository.
cd "$root"
"$python" -m pip --disable-pip-version-check check
"$python" -m ruff format --check .
"$python" -m ruff check .
exec "$python" -m pytest -q -n 2 --dist=loadfile "$@"
