// The one header of every CUDA kernel file: keywords, shared memory, launching, and the wrappers around PTX. nvcc
// compiles each wrapper to one instruction; g++ compiles the same source for native/emulator, where each is a call.
// PTX stands in cu-*.cuh and nowhere else.
#pragma once

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_runtime.h>

constexpr bool kEmulated = false;

#define DEV __device__ __forceinline__
#define HOST_DEV __host__ __device__ __forceinline__
// KARCH: 800, 900, 1000, 1200 in device code. Kernels ask this and never __CUDA_ARCH__, so that the emulator can
// compile each of their paths.
#ifdef __CUDA_ARCH__
#define KARCH __CUDA_ARCH__
#else
#define KARCH 0
#endif
// The caller's line, for the emulator's errors; nothing on a device.
struct Site {};
#define LUFFY_HERE \
  Site {}

#define SHARED(T, name, count) __shared__ alignas(128) T name[count]
extern __shared__ __align__(128) unsigned char luffy_dynamic_shared[];
#define SHARED_DYN(T, name) T* const name = reinterpret_cast<T*>(luffy_dynamic_shared)

#else

#include "../emulator/device-functions.h"
#include "../emulator/launch.h"

constexpr bool kEmulated = true;

#define DEV inline
#define HOST_DEV inline
#ifndef KARCH
#define KARCH 800
#endif

#define SHARED(T, name, count) \
  T(&name)[count] = *reinterpret_cast<T(*)[count]>(::emulator::shared_array(sizeof(T[count]), LUFFY_HERE))
#define SHARED_DYN(T, name) T* const name = static_cast<T*>(::emulator::dynamic_shared())

#endif

#include <cstdint>

// KERNEL(threads[, blocks per multiprocessor]) name(arguments) { ... }: never in an unnamed namespace or static, since
// the emulator finds a kernel's translated PTX by its symbol.
#define KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)

using bf16 = __nv_bfloat16;

#include "cu-launch.cuh"
#include "cu-memory.cuh"
#include "cu-warp.cuh"
#include "cu-mma.cuh"
#include "cu-fault.cuh"
