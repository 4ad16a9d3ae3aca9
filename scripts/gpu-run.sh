#!/bin/sh
# Tests and times the CUDA kernels of this folder on this machine's GPU (scripts/gpu-pack.mjs made it, or a clone):
#   sh scripts/gpu-run.sh [FOLDER FOR RECORDS]
# Needs nvcc, CMake and a driver; uses ./node and Python's PyTorch where they are. Ends with one line a step; exit code 0
# when every step that could run passed. Each step has its limit: eight minutes in all.
cd "$(dirname "$0")/.." || exit 2
out=${1:-gpu-records}
mkdir -p "$out"
build=build/gpu
commit=$(cat COMMIT 2>/dev/null || git describe --always --dirty 2>/dev/null || echo unknown)
summary="$out/summary.txt"
: >"$summary"
failed=0

# step NAME SECONDS COMMAND...: its output goes to NAME.log, its last line and verdict to the summary.
step() {
  name=$1 limit=$2
  shift 2
  begin=$(date +%s)
  timeout -k 10 "$limit" "$@" >"$out/$name.log" 2>&1
  code=$?
  verdict=ok
  if [ "$code" -ne 0 ]; then verdict="FAILED ($code)" failed=1; fi
  printf '%s: %s in %s s: %s\n' "$name" "$verdict" "$(($(date +%s) - begin))" "$(tail -n 1 "$out/$name.log")" | tee -a "$summary"
  return "$code"
}

arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ')
if [ -z "$arch" ]; then
  echo 'no GPU: nvidia-smi names none' | tee -a "$summary"
  exit 7
fi
[ "$arch" = 90 ] && arch=90a
nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit --format=csv,noheader | tee -a "$summary"
echo "commit $commit" | tee -a "$summary"
jobs=$(nproc)

step configure 60 cmake -S . -B "$build" -DLUFFY_PART=cuda -DLUFFY_CUDA_ARCH="$arch-real" \
  -DLUFFY_OUTPUT="$PWD/build/Release" || exit 1
step build 240 cmake --build "$build" --parallel "$jobs" --target luffy_cuda luffy_kernel_tests luffy_kernel_bench || exit 1

step kernel-tests 90 build/Release/luffy_kernel_tests cases/*.cases
step kernel-bench 90 build/Release/luffy_kernel_bench --json "$out/kernel-bench.json" --commit "$commit" cases/*.bench

# Every wrapper of an instruction, exact on integers: the zoo's animals without a bug.
export arch build
step wrappers 120 sh -c "$(cat <<'INNER'
set -e
nvcc -std=c++17 -O2 -arch="sm_$arch" -DLUFFY_BACKEND=cuda test/emulator/zoo-main.cu test/emulator/zoo-controls.cu native/core/check.cpp -o "$build/zoo"
"$build/zoo" $("$build/zoo" --list | grep '^control-')
INNER
)"

if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  step peers 120 python3 benchmarks/pytorch/card_peers.py --json "$out/peers.json"
else
  echo 'peers: left out, python3 has no PyTorch with CUDA' | tee -a "$summary"
fi

node=./node
[ -x "$node" ] || node=$(command -v node || true)
if [ -n "$node" ] && "$node" --version >/dev/null 2>&1; then
  LUFFY_TEST_DEVICES=cuda
  export LUFFY_TEST_DEVICES
  step node-tests 180 "$node" node_modules/ava/entrypoints/cli.mjs --timeout=3m 'dist/test/ops/*.test.js' \
    dist/test/methods/losses.test.js dist/test/training/golden-policies.test.js
else
  echo 'node-tests: left out, no Node runs here' | tee -a "$summary"
fi
exit "$failed"
