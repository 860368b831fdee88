#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
#
# bash launch/local.sh COUNT COMMAND [FLAGS...]
#
# Runs a command in COUNT processes on this machine, for example
#   bash launch/local.sh 2 train --config=configs/quickstart.py --workdir=W
# On a machine with GPUs each process gets an equal share of them, in order, and the
# options of overlap_flags.txt unless OVERLAP is empty; otherwise each has DEVICES
# (default 1) CPU devices. When one process fails, the others are terminated and its
# exit status is that of this script. Process 0 writes the log.
# After SIGTERM (status 75) or Ctrl-C (130) all have saved: the same command goes on.
set -euo pipefail
devices="${DEVICES:-1}"
if (($# < 2)) || [[ ! $1 =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: bash launch/local.sh COUNT COMMAND [FLAGS...]" >&2
  exit 2
fi
count="$1" command="$2"
shift 2
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$(bash "$root/launch/install.sh" auto)"
# Huge pages: XLA allocates the buffers of a program at every call.
[[ ${GLIBC_TUNABLES:-} == *glibc.malloc.hugetlb* ]] ||
  export GLIBC_TUNABLES="${GLIBC_TUNABLES:+$GLIBC_TUNABLES:}glibc.malloc.hugetlb=1"
port="$("$python" -c 'import socket
with socket.socket() as s:
  s.bind(("localhost", 0))
  print(s.getsockname()[1])')"

gpus=0
if command -v nvidia-smi >/dev/null; then
  gpus="$(nvidia-smi --list-gpus | wc -l)"
fi
if ((gpus)) && [[ -n ${OVERLAP-1} ]]; then
  overlap="$(sed -n 's/^gpu //p' "$root/launch/overlap_flags.txt" | paste -sd ' ')"
  export XLA_FLAGS="$overlap ${XLA_FLAGS:-}" # the last value of an option counts
fi
if ((gpus % count)); then
  echo "error: $count processes don't divide $gpus GPUs" >&2
  exit 2
fi

pids=()
terminate_all() {
  local _
  kill "${pids[@]}" 2>/dev/null || return 0
  for _ in 1 2 3 4 5; do
    sleep 1
    [[ -n $(jobs -pr) ]] || return 0
  done
  kill -KILL "${pids[@]}" 2>/dev/null || true
}
trap terminate_all EXIT
# Told to stop, the processes save and end by themselves.
stopped=
stop() {
  stopped="$1"
  kill "${pids[@]}" 2>/dev/null || true
}
trap 'stop 130' INT
trap 'stop 75' TERM
for ((index = 0; index < count; index++)); do
  if ((gpus)); then
    share=$((gpus / count))
    visible="$(seq -s, $((index * share)) $((index * share + share - 1)))"
    export CUDA_VISIBLE_DEVICES="$visible"
  else
    export JAX_PLATFORMS=cpu
    export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$devices"
  fi
  PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" "$python" -m "elmer_jax.$command" "$@" \
    "--distributed=localhost:$port,$count,$index" &
  pids+=($!)
done
status=0
for ((index = 0; index < count && status == 0; index++)); do
  wait -n || status=$?
done
if [[ -n $stopped ]]; then
  while [[ -n $(jobs -pr) ]]; do wait || true; done
  status="$stopped"
fi
exit "$status"
