// Seeded bugs of memory inside kernels: bounds, alignment, poison, copies under way, bank conflicts.
#include "zoo.h"

constexpr int kThreads = 64;
static float value(size_t i) { return static_cast<float>(i % 1000); }

KERNEL(kThreads) static_over(float* out, int n) {
  SHARED(float, tile, kThreads);
  const int t = threadIdx.x;
  tile[t] = 1.0f;
  __syncthreads();
  float sum = 0.0f;
  const float* p = tile;
  for (int i = t; i <= n; ++i) sum += p[i];  // bug: <= reads one past the end
  out[t] = sum;
}
ZOO(static_over, "shared-static-one-past-the-end") {
  Array<float> out(kThreads);
  launch<static_over>(Launch(1, kThreads), out.data, kThreads);
  return equals(out.read(), [](size_t i) { return kThreads - i; });
}

KERNEL(kThreads) dynamic_over(float* out) {
  SHARED_DYN(float, tile);
  const int t = threadIdx.x;
  tile[t] = 1.0f;
  __syncthreads();
  out[t] = tile[t + 1];  // bug: the last thread reads one past the end
}
ZOO(dynamic_over, "shared-dynamic-one-past-the-end") {
  Array<float> out(kThreads);
  launch<dynamic_over>(Launch(1, kThreads, kThreads * sizeof(float)), out.data);
  return equals(out.read(), [](size_t) { return 1; });
}

KERNEL(kThreads) shared_write_over(float* out) {
  SHARED_DYN(float, tile);
  const int t = threadIdx.x;
  tile[t + 1] = 1.0f;  // bug: the last thread writes one past the end
  __syncthreads();
  out[t] = t == 0 ? 1.0f : tile[t];
}
ZOO(shared_write_over, "shared-write-past-the-end") {
  Array<float> out(kThreads);
  launch<shared_write_over>(Launch(1, kThreads, kThreads * sizeof(float)), out.data);
  return equals(out.read(), [](size_t) { return 1; });
}

KERNEL(kThreads) global_over(const float* in, float* out) {
  const int t = threadIdx.x;
  out[t] = in[t] + in[t + 1];  // bug: the last thread reads one past the end
}
ZOO(global_over, "global-read-past-the-end") {
  Array<float> in(kThreads, value), out(kThreads);
  launch<global_over>(Launch(1, kThreads), in.data, out.data);
  return equals(out.read(), [](size_t i) { return i + i + 1; });
}

KERNEL(kThreads) global_write_over(float* out) {
  out[threadIdx.x + 1] = 1.0f;  // bug: the last thread writes one past the end
  if (threadIdx.x == 0) out[0] = 1.0f;
}
ZOO(global_write_over, "global-write-past-the-end") {
  Array<float> out(kThreads);
  launch<global_write_over>(Launch(1, kThreads), out.data);
  return equals(out.read(), [](size_t) { return 1; });
}

KERNEL(kThreads) raw_misaligned(const float* in, float* out) {
  const int t = threadIdx.x;
  const float4 v = *reinterpret_cast<const float4*>(in + 1 + 4 * t);  // bug: one float off 16 bytes
  out[t] = v.x + v.w;
}
ZOO(raw_misaligned, "misaligned-float4") {
  Array<float> in(4 * kThreads + 1, value), out(kThreads);
  launch<raw_misaligned>(Launch(1, kThreads), in.data, out.data);
  return equals(out.read(), [](size_t i) { return 8 * i + 5; });
}

KERNEL(kThreads) wrapped_misaligned(const float* in, float* out) {
  const int t = threadIdx.x;
  const Pack<float> v = ld128(in + 1 + 4 * t);  // bug: one float off 16 bytes
  out[t] = v.at[0] + v.at[3];
}
ZOO(wrapped_misaligned, "misaligned-ld128") {
  Array<float> in(4 * kThreads + 1, value), out(kThreads);
  launch<wrapped_misaligned>(Launch(1, kThreads), in.data, out.data);
  return equals(out.read(), [](size_t i) { return 8 * i + 5; });
}

KERNEL(32) wild_index(const long long* index, float* out) {
  SHARED(float, tile, 32);
  float* p = tile;
  p[threadIdx.x] = 1.0f;
  __syncwarp();
  out[threadIdx.x] = p[index[threadIdx.x]];  // bug: lane 7's index is far outside
}
ZOO(wild, "wild-shared-index") {
  Array<long long> index(32, [](size_t i) { return i == 7 ? 1ll << 40 : static_cast<long long>(i); });
  Array<float> out(32);
  launch<wild_index>(Launch(1, 32), index.data, out.data);
  return equals(out.read(), [](size_t) { return 1; });
}

KERNEL(kThreads) uninitialised_sum(float* out) {
  SHARED(float, tile, kThreads);
  const int t = threadIdx.x;
  if (t != 5) tile[t] = 1.0f;  // bug: nothing writes element 5
  __syncthreads();
  float sum = 0.0f;
  for (int i = 0; i < kThreads; ++i) sum += tile[i];
  out[t] = sum;
}
ZOO(uninitialised_sum, "uninitialised-shared-sum") {
  Array<float> out(kThreads);
  launch<uninitialised_sum>(Launch(1, kThreads), out.data);
  return equals(out.read(), [](size_t) { return kThreads; });
}

KERNEL(kThreads) uninitialised_max(float* out) {
  SHARED(float, tile, kThreads);
  const int t = threadIdx.x;
  if (t != 5) tile[t] = 1.0f;  // bug: nothing writes element 5, and fmaxf passes NaN over
  __syncthreads();
  float most = 0.0f;
  for (int i = 0; i < kThreads; ++i) most = fmaxf(most, tile[i]);
  out[t] = most;
}
ZOO(uninitialised_max, "uninitialised-shared-max") {
  Array<float> out(kThreads);
  launch<uninitialised_max>(Launch(1, kThreads), out.data);
  return equals(out.read(), [](size_t) { return 1; });
}

KERNEL(32) uninitialised_local(const int* which, float* out) {
  int kept[4];
  kept[which[0]] = 1;
  kept[which[1]] = 2;
  out[threadIdx.x] = kept[which[2]] == 12345 ? 1.0f : 0.0f;  // bug: nobody wrote that element
}
ZOO(uninitialised_local, "uninitialised-local-array") {
  Array<int> which(3, [](size_t i) { return static_cast<int>(i); });
  Array<float> out(32);
  launch<uninitialised_local>(Launch(1, 32), which.data, out.data);
  return equals(out.read(), [](size_t) { return 0; });
}

KERNEL(32) copy_not_waited(const float* in, float* out) {
  SHARED(float, tile, 128);
  cp_async16(tile + 4 * threadIdx.x, in + 4 * threadIdx.x);
  cp_async_commit();
  __syncthreads();
  out[threadIdx.x] = tile[4 * threadIdx.x];  // bug: no wait
  cp_async_wait<0>();
}
ZOO(copy_not_waited, "cp-async-read-before-wait") {
  Array<float> in(128, value), out(32);
  launch<copy_not_waited>(Launch(1, 32), in.data, out.data);
  return equals(out.read(), [](size_t i) { return 4 * i; });
}

KERNEL(32) copy_one_group_short(const float* in, float* out) {
  SHARED(float, tile, 256);
  for (int half = 0; half < 2; ++half) {
    cp_async16(tile + 128 * half + 4 * threadIdx.x, in + 128 * half + 4 * threadIdx.x);
    cp_async_commit();
  }
  cp_async_wait<1>();  // bug: the second half may be under way
  __syncthreads();
  out[threadIdx.x] = tile[128 + 4 * threadIdx.x];
}
ZOO(copy_short, "cp-async-waits-for-one-group-too-few") {
  Array<float> in(256, value), out(32);
  launch<copy_one_group_short>(Launch(1, 32), in.data, out.data);
  return equals(out.read(), [](size_t i) { return 128 + 4 * i; });
}

KERNEL(64) copy_without_barrier(const float* in, float* out) {
  SHARED(float, tile, 256);
  const int t = threadIdx.x;
  cp_async16(tile + 4 * t, in + 4 * t);
  cp_async_commit();
  cp_async_wait<0>();
  out[t] = tile[4 * (63 - t)];  // bug: another thread's copy, and no barrier
}
ZOO(copy_no_barrier, "cp-async-wait-without-barrier") {
  Array<float> in(256, value), out(64);
  launch<copy_without_barrier>(Launch(1, 64), in.data, out.data);
  return equals(out.read(), [](size_t i) { return 4 * (63 - i); });
}

KERNEL(32) copy_misaligned(const float* in, float* out) {
  SHARED(float, tile, 132);
  cp_async16(tile + 4 * threadIdx.x + 1, in + 4 * threadIdx.x);  // bug: 4 bytes off
  cp_async_commit();
  cp_async_wait<0>();
  out[threadIdx.x] = tile[4 * threadIdx.x + 1];
}
ZOO(copy_misaligned, "cp-async-misaligned") {
  Array<float> in(128, value), out(32);
  launch<copy_misaligned>(Launch(1, 32), in.data, out.data);
  return equals(out.read(), [](size_t i) { return 4 * i; });
}

KERNEL(32) matrix_misaligned(float* out) {
  SHARED(bf16, tile, 8 * 8 + 8);
  for (int i = threadIdx.x; i < 72; i += 32) tile[i] = __float2bfloat16(1.0f);
  __syncwarp();
  uint32_t word[1];
  ldmatrix<1>(word, tile + 1 + 8 * (threadIdx.x % 8));  // bug: rows at 2 bytes past 16
  out[threadIdx.x] = static_cast<float>(word[0]);
}
ZOO(matrix_misaligned, "ldmatrix-misaligned-row") {
  Array<float> out(32);
  launch<matrix_misaligned>(Launch(1, 32), out.data);
  return equals(out.read(), [](size_t) { return static_cast<float>(0x3f803f80u); });
}

// Rows of 128 bytes: with the swizzle the eight rows of a matrix lie in eight banks, without it in one.
template <bool swizzled>
KERNEL(32) matrix_rows(float* out) {
  SHARED(bf16, tile, 16 * 64);
  for (int i = threadIdx.x; i < 16 * 64; i += 32) tile[i] = __float2bfloat16(1.0f);
  __syncwarp();
  float sum = 0.0f;
  for (int part = 0; part < 8; ++part) {
    const int row = threadIdx.x % 16;
    uint32_t words[2];
    ldmatrix<2>(words, tile + row * 64 + 8 * (swizzled ? part ^ (row % 8) : part));
    sum += __uint_as_float(words[0] << 16) + __uint_as_float(words[1] << 16);
  }
  out[threadIdx.x] = sum;
}
ZOO(no_swizzle, "shared-memory-without-swizzle") {
  Array<float> out(32);
  launch<matrix_rows<false>>(Launch(1, 32), out.data);
  const bool right = equals(out.read(), [](size_t) { return 16; });
#ifndef __CUDACC__
  const emulator::Traffic t = emulator::traffic("matrix_rows");
  std::printf("ldmatrix: %llu phases, %llu extra\n", static_cast<unsigned long long>(t.ldmatrix_phases),
              static_cast<unsigned long long>(t.ldmatrix_extra_phases));
#endif
  return right;
}
ZOO(swizzle, "control-swizzle") {
  Array<float> out(32);
  launch<matrix_rows<true>>(Launch(1, 32), out.data);
  const bool right = equals(out.read(), [](size_t) { return 16; });
#ifndef __CUDACC__
  const emulator::Traffic t = emulator::traffic("matrix_rows");
  std::printf("ldmatrix: %llu phases, %llu extra\n", static_cast<unsigned long long>(t.ldmatrix_phases),
              static_cast<unsigned long long>(t.ldmatrix_extra_phases));
#endif
  return right;
}

KERNEL(32) strided_loads(const float* in, float* out) {
  float sum = 0.0f;
  for (int i = 0; i < 4; ++i) sum += ld(in + 32 * threadIdx.x + i);  // bug (of speed): 32 sectors where 4 would do
  st(out + threadIdx.x, sum);
}
ZOO(strided, "uncoalesced-loads") {
  Array<float> in(32 * 32, [](size_t) { return 1.0f; }), out(32);
  launch<strided_loads>(Launch(1, 32), in.data, out.data);
  const bool right = equals(out.read(), [](size_t) { return 4; });
#ifndef __CUDACC__
  const emulator::Traffic t = emulator::traffic("strided_loads");
  std::printf("loads: %llu bytes, %llu sectors, %llu needed\n", static_cast<unsigned long long>(t.load_bytes),
              static_cast<unsigned long long>(t.load_sectors),
              static_cast<unsigned long long>(t.load_ideal_sectors));
#endif
  return right;
}

// The lower part of B's fragment is handed to the tensor core as the upper one: only the PTX shows it.
DEV void mma_swapped(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%10, %11, %12, %13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[1]), "r"(b[0]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#else
  mma_m16n8k16_bf16(d, a, b, c);
#endif
}
KERNEL(32) swapped_operands(float* out) {
  const int t = threadIdx.x;
  uint32_t a[4], b[2];
  float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  // a[row][k] = k, b[k][column] = 1 for k < 8, else 0.
  for (int r = 0; r < 4; ++r) {
    const float k = static_cast<float>(t % 4 * 2 + 8 * (r / 2));
    a[r] = pack_bf16(k, k + 1.0f);
  }
  b[0] = pack_bf16(1.0f, 1.0f);
  b[1] = 0;
  mma_swapped(d, a, b, d);
  for (int i = 0; i < 4; ++i) out[4 * t + i] = d[i];
}
ZOO(swapped, "swapped-mma-operands") {
  Array<float> out(128);
  launch<swapped_operands>(Launch(1, 32), out.data);
  return equals(out.read(), [](size_t) { return 28; });
}
