#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
#
# [PYTHON=python3.12] bash launch/quickstart.sh [WORKDIR]
#
# From a fresh machine to a trained model and its report: installs (see
# launch/install.sh), prepares the data, pre-trains, fine-tunes, evaluates and writes
# WORKDIR/report/index.html. The default of WORKDIR is quickstart_run. Each stage skips
# what is done already, so the same command continues an interrupted run.
set -euo pipefail
if (($# > 1)) || [[ ${1:-} == -* ]]; then
  echo "usage: bash launch/quickstart.sh [WORKDIR]" >&2
  exit 2
fi
workdir="${1:-quickstart_run}"
[[ $workdir == /* || $workdir == *://* ]] || workdir="$PWD/$workdir"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$(bash "$root/launch/install.sh" auto)"
cd "$root"
# Huge pages: XLA allocates the buffers of a program at every call.
[[ ${GLIBC_TUNABLES:-} == *glibc.malloc.hugetlb* ]] ||
  export GLIBC_TUNABLES="${GLIBC_TUNABLES:+$GLIBC_TUNABLES:}glibc.malloc.hugetlb=1"

stage() {
  printf '\n== %s\n' "$1"
  "$python" -m "elmer_jax.$2" "${@:3}"
}
pretrain=(--config=quickstart "--workdir=$workdir/pretrain")
finetune=(--config=finetune_pydocs "--workdir=$workdir/finetune"
  "--config.init_from=$workdir/pretrain")

stage "1/7 Prepare the text" prepare "${pretrain[@]}"
stage "2/7 Pre-train" train "${pretrain[@]}"
stage "3/7 Evaluate the pre-trained model" evaluate "--workdir=$workdir/pretrain"
stage "4/7 Prepare the pairs" prepare "${finetune[@]}"
stage "5/7 Fine-tune" train "${finetune[@]}"
stage "6/7 Evaluate the fine-tuned model" evaluate "--workdir=$workdir/finetune"
stage "7/7 Report" report "--runs=$workdir/pretrain,$workdir/finetune" \
  "--output=$workdir/report"
