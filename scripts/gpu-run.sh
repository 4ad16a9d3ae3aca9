#!/bin/sh
# Tests and times the CUDA kernels of this folder on this machine's GPU (scripts/gpu-pack.mjs made it, or a clone):
#   sh scripts/gpu-run.sh [FOLDER FOR RECORDS]
# Needs nvcc, CMake and a driver; uses ./node and Python's PyTorch where they are. Ends with one line a step; exit code 0
# when every step that could run passed, 1 when one failed, 7 without a GPU. Each step has its limit, all of them eight
# minutes: what comes too late is left out, which is a failure too.
out=${1:-gpu-records}
mkdir -p "$out" && out=$(cd "$out" && pwd) && cd "$(dirname "$0")/.." || exit 2
begin=$(date +%s)
total=470
build=build/gpu
commit=$(cat COMMIT 2>/dev/null || git describe --always --dirty 2>/dev/null || echo unknown)
summary="$out/summary.txt"
: >"$summary"
failed=0

say() { echo "$*" | tee -a "$summary"; }

# What of a log says how it went: the first line that names an error, else the last.
verdict_of() {
  line=
  if [ "$2" -ne 0 ]; then
    line=$(grep -m 1 -E 'no device|[A-Za-z]Error: ' "$1") || line=$(grep -m 1 -E 'FAILED|error|\[fail\]' "$1")
  fi
  [ -n "$line" ] || line=$(grep -v '^ *$' "$1" | tail -n 1)
  echo "$line" | sed 's/^ *//' | cut -c 1-160
}

# step NAME SECONDS COMMAND...: its output goes to NAME.log; its verdict, with what it said, to the summary.
step() {
  name=$1 limit=$2
  shift 2
  started=$(date +%s)
  left=$((total - started + begin))
  if [ "$left" -lt 5 ]; then
    failed=1
    say "$name: LEFT OUT, the $total s are over"
    return 1
  fi
  [ "$limit" -lt "$left" ] || limit=$left
  echo "$name ..."
  timeout -k 10 "$limit" "$@" >"$out/$name.log" 2>&1 </dev/null
  code=$?
  verdict=ok
  if [ "$code" -ne 0 ]; then verdict="FAILED, exit code $code," failed=1; fi
  [ "$code" -ne 124 ] && [ "$code" -ne 137 ] || verdict="FAILED, ended after $limit s,"
  say "$name: $verdict in $(($(date +%s) - started)) s: $(verdict_of "$out/$name.log" "$code")"
  return "$code"
}

arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ')
case "$arch" in
'' | *[!0-9]*)
  say 'no GPU: nvidia-smi names none'
  exit 7
  ;;
esac
[ "$arch" = 90 ] && arch=90a
say "$(nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit --format=csv,noheader | head -n 1)"
say "commit $commit"
jobs=$(nproc)

step configure 60 cmake -S . -B "$build" -DLUFFY_PART=cuda -DLUFFY_CUDA_ARCH="$arch-real" \
  -DLUFFY_OUTPUT="$PWD/build/Release" || exit 1
step build 300 cmake --build "$build" --parallel "$jobs" --target luffy_cuda luffy_kernel_tests luffy_kernel_bench || exit 1

step kernel-tests 60 build/Release/luffy_kernel_tests cases/*.cases

peers=
if [ -z "$LUFFY_CUBLAS" ]; then
  # Where PyTorch or the toolkit brings it and the loader does not look.
  LUFFY_CUBLAS=$(python3 -c 'import glob, sys
print(next((f for p in sys.path for f in sorted(glob.glob(p + "/nvidia/*/lib/libcublas.so.1[0-9]"))), ""))' 2>/dev/null)
  [ -n "$LUFFY_CUBLAS" ] || LUFFY_CUBLAS=$(ls "$(dirname "$(command -v nvcc)")"/../lib64/libcublas.so.1[0-9] 2>/dev/null | head -n 1)
  if [ -n "$LUFFY_CUBLAS" ]; then export LUFFY_CUBLAS; else unset LUFFY_CUBLAS; fi
fi
if python3 benchmarks/pytorch/card_peers.py --check >"$out/peers.log" 2>&1; then
  step peers 100 python3 benchmarks/pytorch/card_peers.py --json "$out/peers.json" --table "$out/peers.tsv"
  [ -s "$out/peers.tsv" ] && peers="--peers $out/peers.tsv"
else
  say "peers: left out, $(tail -n 1 "$out/peers.log")"
fi
# shellcheck disable=SC2086 # two words, or none
step kernel-bench 90 build/Release/luffy_kernel_bench --json "$out/kernel-bench.json" --commit "$commit" \
  $peers cases/*.bench
grep '^goal ' "$out/kernel-bench.log" >>"$summary"

# Every wrapper of an instruction, exact on integers: the zoo's animals without a bug.
export arch build
step wrappers 60 sh -c "$(cat <<'INNER'
set -e
nvcc -std=c++17 -O2 -arch="sm_$arch" -DLUFFY_BACKEND=cuda test/emulator/zoo-main.cu test/emulator/zoo-controls.cu native/core/check.cpp -o "$build/zoo"
"$build/zoo" $("$build/zoo" --list | grep '^control-')
INNER
)"

node=./node
[ -x "$node" ] || node=$(command -v node || true)
if [ -n "$node" ] && "$node" --version >/dev/null 2>&1; then
  LUFFY_TEST_DEVICES=${LUFFY_TEST_DEVICES:-cuda}
  export LUFFY_TEST_DEVICES
  step node-tests 180 "$node" node_modules/ava/entrypoints/cli.mjs --timeout=3m 'dist/test/ops/*.test.js' \
    dist/test/methods/losses.test.js dist/test/training/golden-policies.test.js
else
  say 'node-tests: left out, no Node runs here'
fi
exit "$failed"
