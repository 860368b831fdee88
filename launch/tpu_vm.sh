#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
#
# [TPU=name ZONE=zone TYPE=v4-128 ...] bash launch/tpu_vm.sh [--dry_run] COMMAND [FLAGS...]
#
# Runs a command on all workers of a Cloud TPU VM, for example
#   bash launch/tpu_vm.sh train --config=configs/pretrain_base.py --workdir=/mnt/shared/W
# Creates the VM or uses the existing one of that name, copies the last commit to it,
# installs, runs and shows the output of the workers. After a preemption it starts over,
# and the run resumes from its checkpoint if the workdir outlives the VM. --dry_run
# prints the gcloud calls.
set -euo pipefail
TPU="${TPU:-elmer}"                # the VM's name
ZONE="${ZONE:-us-central2-b}"      # the project is that of the gcloud configuration
TYPE="${TYPE:-v4-8}"               # accelerator type
IMAGE="${IMAGE:-tpu-ubuntu2204-base}"
QUEUED="${QUEUED:-}"               # not empty: request it as a queued resource
CREATE_FLAGS="${CREATE_FLAGS---spot}"
# Runs on every worker before the installation; mount the shared file system here.
SETUP="${SETUP:-sudo apt-get -qq update && sudo apt-get -qq install -y python3.11-venv}"
OVERLAP="${OVERLAP-1}"             # empty: without the options of overlap_flags.txt
ATTEMPTS="${ATTEMPTS:-100}"
WAIT="${WAIT:-60}"                 # seconds between two polls of the VM's state

dry_run=
if [[ ${1:-} == --dry_run ]]; then dry_run=1 && shift; fi
if (($# < 1)) || [[ $1 == -* ]]; then
  echo "usage: bash launch/tpu_vm.sh [--dry_run] COMMAND [FLAGS...]" >&2 && exit 2
fi
command="$1" archive="$(mktemp --suffix=.tar.gz)"
trap 'rm -f "$archive"' EXIT
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kind=tpu-vm field=state image=--version remove=()
if [[ -n $QUEUED ]]; then
  kind=queued-resources field=state.state image=--runtime-version remove=(--force)
  CREATE_FLAGS="$CREATE_FLAGS --node-id=$TPU"
fi
read -ra more <<<"$CREATE_FLAGS"
printf -v flags ' %q' "${@:2}" --distributed=auto
libtpu="${OVERLAP:+$(sed -n 's/^tpu //p' launch/overlap_flags.txt | paste -sd ' ')} "
libtpu+="${LIBTPU_INIT_ARGS:-}" # of two values of an option, the last one counts

log() { echo "$*" >&2; }
run() { if [[ -n $dry_run ]]; then echo "${*@Q}"; else "$@"; fi; }
tpus() { run gcloud compute tpus "$1" "$2" "${@:3}" "--zone=$ZONE"; }
on_all() { tpus tpu-vm ssh "$TPU" --worker=all "--command=$1"; }
state() { tpus "$kind" describe "$TPU" "--format=value($field)" 2>/dev/null || true; }
create() { tpus "$kind" create "$TPU" "--accelerator-type=$TYPE" "$image=$IMAGE" "${more[@]}"; }
is_ready() { [[ $1 == READY || $1 == ACTIVE ]]; }
make_ready() {
  local now
  if [[ -n $dry_run ]]; then state && create && return; fi
  while now="$(state)" && ! is_ready "$now"; do
    log "$TPU is ${now:-missing}"
    case "$now" in
      "") create ;;
      ACCEPTED | *ING | WAITING_FOR_RESOURCES) sleep "$WAIT" ;;
      *) tpus "$kind" delete "$TPU" --quiet "${remove[@]}" ;;
    esac
  done
}
start() {
  run git archive --format=tar.gz --output="$archive" HEAD &&
    tpus tpu-vm scp "$archive" "$TPU:elmer_jax.tar.gz" --worker=all &&
    on_all "$SETUP && mkdir -p elmer_jax && tar xzf elmer_jax.tar.gz -C elmer_jax &&
      PYTHON=python3.11 bash elmer_jax/launch/install.sh tpu" &&
    on_all "cd elmer_jax &&
      LIBTPU_INIT_ARGS=${libtpu@Q} \
      GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1} .venv-3.11/bin/python -m elmer_jax.$command$flags"
}

for ((attempt = 1; attempt <= ATTEMPTS; attempt++)); do
  make_ready
  start && exit
  status=$?
  sleep "$WAIT" # a VM being preempted still looks healthy for a while
  now="$(state)"
  # 75: told to stop, the command has saved and goes on. Otherwise it has failed.
  if is_ready "$now" && ((status != 75)); then exit "$status"; fi
  log "$TPU is ${now:-missing}: attempt $attempt of $ATTEMPTS ended"
done
exit 1
