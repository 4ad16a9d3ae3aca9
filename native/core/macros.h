// Macros shared by every native file. No includes: kernels compiled per instruction set include this first.
#pragma once

// Functions in headers are always inlined, so that an object compiled for AVX-512 never lends its copy of a
// shared helper to code that must run on an older processor (`test/native/isa-symbols.test.ts` checks it).
#define LUFFY_INLINE inline __attribute__((always_inline))

// The same for what kernels of a device call too.
#ifdef __CUDACC__
#define LUFFY_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define LUFFY_HOST_DEVICE LUFFY_INLINE
#endif

// The namespace that holds one compilation of the ops: cpu_avx512, cpu_avx2, cpu_baseline (set by the build from
// native/sources.json), later cuda. Files that do not belong to a backend see the signatures through `cpu_baseline`.
#ifndef LUFFY_BACKEND
#define LUFFY_BACKEND cpu_baseline
#endif
