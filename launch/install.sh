#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
#
# bash launch/install.sh [EXTRA ...]
# extras: test, benchmarks, notebook, meteor, wandb, cuda, tpu, plan; and auto: cuda or
# tpu where this machine has such devices
#
# Makes a virtual environment in the repository, installs the package into it with
# the versions of launch/constraints.txt, and prints the path of its Python. It does
# nothing where this was done before and no requirement has changed since.
#
# The environment is .venv, made by python3 (or by python3.12, 3.11 or 3.13 where
# python3 is another version). PYTHON=python3.12 chooses an interpreter; then the
# environment has its version in its name: .venv-3.12.
set -euo pipefail

say() { echo "$*" >&2; }
fail() {
  say "error: $*"
  exit 2
}
supported() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
}
version_of() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

# Prints the extra for the accelerators of this machine, if there are any.
accelerator() {
  if nvidia-smi --list-gpus 2>/dev/null | grep -q GPU; then
    echo cuda
  elif compgen -G '/dev/accel[0-9]*' >/dev/null || {
    compgen -G '/dev/vfio/[0-9]*' >/dev/null && # any device that a guest may have
      grep -qs 0x1ae0 /sys/bus/pci/devices/*/vendor # Google's
  }; then
    echo tpu
  fi
}

# Prints the path of the interpreter called $1, if there is one that runs. A pyenv
# shim runs only the active versions: pyenv knows the others.
locate() {
  local pyenv_version
  if "$1" -c '' 2>/dev/null; then
    command -v "$1"
  elif command -v pyenv >/dev/null; then
    pyenv_version="$(pyenv whence "$1" 2>/dev/null | tail -n 1)"
    [[ -n $pyenv_version ]] && PYENV_VERSION="$pyenv_version" pyenv which "$1"
  else
    return 1
  fi
}

chosen_interpreter() {
  local candidate path
  if [[ -n ${PYTHON:-} ]]; then
    path="$(locate "$PYTHON")" || fail "PYTHON=$PYTHON does not run on this machine"
    supported "$path" || fail "PYTHON=$PYTHON is Python $(version_of "$path");" \
      "this project needs 3.11, 3.12 or 3.13"
    echo "$path"
    return
  fi
  for candidate in python3 python3.12 python3.11 python3.13; do
    if path="$(locate "$candidate")" && supported "$path"; then
      echo "$path"
      return
    fi
  done
  fail "this project needs Python 3.11, 3.12 or 3.13, and python3 is" \
    "$(version_of python3 || echo missing): install one or set PYTHON=/path/to/python"
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
names=()
for name in "$@"; do
  if [[ $name == auto ]]; then name="$(accelerator)"; fi
  if [[ -n $name ]]; then names+=("$name"); fi
done
extras="$(IFS=, && echo "${names[*]-}")"
venv="$PWD/.venv"
if [[ -n ${PYTHON:-} ]]; then
  interpreter="$(chosen_interpreter)"
  venv="$venv-$(version_of "$interpreter")"
fi
python="$venv/bin/python"

# The folder is part of the stamp: an environment that was moved does not work.
stamp="$venv/installed-${extras:-base}"
inputs=(requirements.txt pyproject.toml setup.py launch/constraints.txt)
wanted="$PWD $(cat "${inputs[@]}" | cksum)"
if ! supported "$python" || ! "$python" -c 'import pip' 2>/dev/null; then
  [[ -d $venv ]] && say "$venv is incomplete or of another Python: making it again"
  interpreter="${interpreter:-$(chosen_interpreter)}"
  "$interpreter" -m venv --clear "$venv" >&2 || fail "$interpreter cannot make a" \
    "virtual environment (on Debian and Ubuntu: apt install python3-venv)"
elif [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
  echo "$python"
  exit
fi

say "Installing into ${venv##*/} (the first time about 2 minutes, 3.5 GB)"
"$python" -m pip install --quiet --disable-pip-version-check \
  --constraint launch/constraints.txt --editable ".${extras:+[$extras]}" >&2 ||
  fail "pip could not install the requirements; its messages are above"
echo "$wanted" >"$stamp"
echo "$python"
