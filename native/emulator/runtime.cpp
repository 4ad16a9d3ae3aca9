// The runtime functions that luffy calls, over the emulated device. Linked in place of cudart: the same host code
// runs with either.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "runtime.h"

using namespace emulator;

namespace emulator {

// Few multiprocessors, so that loops over the grid are taken more than once.
int architecture() {
  const char* text = std::getenv("EMULATOR_ARCH");
  return text == nullptr ? 80 : std::atoi(text);
}
int most_shared_memory() {
  const int arch = architecture();
  return (arch == 90 || arch == 100 ? 227 : arch == 80 ? 163 : 99) * 1024;
}

}  // namespace emulator

namespace {

thread_local int selected_device = 0;

}  // namespace

namespace emulator {

int device_count() {
  const char* text = std::getenv("EMULATOR_DEVICES");
  return text == nullptr ? 1 : std::atoi(text);
}
int current_device() { return selected_device; }

}  // namespace emulator

namespace {

cudaError_t copy_now_or_later(void* target, const void* source, size_t bytes, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  const cudaError_t error = check_copy(target, source, bytes, &kind);
  if (error != cudaSuccess || bytes == 0) return error;
  const bool host_source = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyHostToHost;
  const bool host_target = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyHostToHost;
  if (host_source && !is_pinned(source)) {
    // Pageable memory is staged: the caller may change it at once.
    auto staged =
        std::make_shared<std::vector<char>>(static_cast<const char*>(source), static_cast<const char*>(source) + bytes);
    enqueue(stream, [=] {
      const cudaError_t late = copy_memory(target, staged->data(), bytes, kind);
      if (late != cudaSuccess) set_sticky_error(late);
    });
  } else {
    enqueue(stream, [=] {
      const cudaError_t late = copy_memory(target, source, bytes, kind);
      if (late != cudaSuccess) set_sticky_error(late);
    });
  }
  // A copy into pageable memory returns when it is done.
  if (host_target && !is_pinned(target)) drain(stream);
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count();
  return remember(cudaSuccess);
}
cudaError_t cudaGetDevice(int* device) {
  *device = selected_device;
  return remember(cudaSuccess);
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= device_count()) return remember(cudaErrorInvalidDevice);
  selected_device = device;
  return remember(cudaSuccess);
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return remember(cudaSuccess);
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return remember(cudaSuccess);
}
cudaError_t cudaDeviceReset() {
  LUFFY_RUNTIME_LOCK;
  drain_all();
  return remember(cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* out, int device) {
  if (device < 0 || device >= device_count()) return remember(cudaErrorInvalidDevice);
  std::memset(static_cast<void*>(out), 0, sizeof *out);
  std::strcpy(out->name, "luffy emulated device");
  out->major = architecture() / 10;
  out->minor = architecture() % 10;
  out->totalGlobalMem = total_memory();
  out->sharedMemPerBlock = 48 * 1024;
  out->sharedMemPerBlockOptin = static_cast<size_t>(most_shared_memory());
  out->sharedMemPerMultiprocessor = static_cast<size_t>(most_shared_memory()) + 1024;
  out->regsPerBlock = 65536;
  out->regsPerMultiprocessor = 65536;
  out->warpSize = 32;
  out->maxThreadsPerBlock = 1024;
  out->maxThreadsPerMultiProcessor = 2048;
  out->maxBlocksPerMultiProcessor = 32;
  out->multiProcessorCount = 4;
  out->maxThreadsDim[0] = out->maxThreadsDim[1] = 1024;
  out->maxThreadsDim[2] = 64;
  out->maxGridSize[0] = 0x7fffffff;
  out->maxGridSize[1] = out->maxGridSize[2] = 65535;
  out->l2CacheSize = 4 << 20;
  out->unifiedAddressing = 1;
  out->concurrentKernels = 1;
  out->cooperativeLaunch = 1;
  return remember(cudaSuccess);
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  const cudaError_t error = cudaGetDeviceProperties(&p, device);
  if (error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = p.multiProcessorCount;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = most_shared_memory();
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(p.sharedMemPerBlock);
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(p.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = p.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = p.minor;
      break;
    case cudaDevAttrMaxThreadsPerBlock:
      *value = p.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = p.maxThreadsPerMultiProcessor;
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrL2CacheSize:
      *value = p.l2CacheSize;
      break;
    case cudaDevAttrCooperativeLaunch:
      *value = 1;
      break;
    case cudaDevAttrClusterLaunch:
      *value = architecture() >= 90;
      break;
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      break;
    default:
      report("cudaDeviceGetAttribute(%d): the emulator has no answer", static_cast<int>(attribute));
      return remember(cudaErrorInvalidValue);
  }
  return remember(cudaSuccess);
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  LUFFY_RUNTIME_LOCK;
  *free_bytes = free_memory();
  *total = total_memory();
  return remember(cudaSuccess);
}
cudaError_t cudaMalloc(void** out, size_t bytes) {
  LUFFY_RUNTIME_LOCK;
  note_call("allocate %zu", bytes);
  if (sticky_error() != cudaSuccess) return sticky_error();
  return remember(allocate(out, bytes, Place::device));
}
cudaError_t cudaFree(void* pointer) {
  LUFFY_RUNTIME_LOCK;
  note_call("free");
  drain_all();
  return remember(release(pointer, Place::device));
}
cudaError_t cudaMallocAsync(void** out, size_t bytes, cudaStream_t) { return cudaMalloc(out, bytes); }
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  LUFFY_RUNTIME_LOCK;
  enqueue(stream, [pointer] {
    const cudaError_t error = release(pointer, Place::device);
    if (error != cudaSuccess) set_sticky_error(error);
  });
  return remember(cudaSuccess);
}
cudaError_t cudaHostAlloc(void** out, size_t bytes, unsigned) {
  LUFFY_RUNTIME_LOCK;
  note_call("allocate pinned %zu", bytes);
  return remember(allocate(out, bytes, Place::pinned));
}
cudaError_t cudaMallocHost(void** out, size_t bytes) { return cudaHostAlloc(out, bytes, 0); }
cudaError_t cudaFreeHost(void* pointer) {
  LUFFY_RUNTIME_LOCK;
  drain_all();
  return remember(release(pointer, Place::pinned));
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* pointer) {
  LUFFY_RUNTIME_LOCK;
  const char* reason = nullptr;
  const Allocation* allocation = find_allocation(pointer, 1, &reason);
  std::memset(static_cast<void*>(out), 0, sizeof *out);
  out->type = allocation == nullptr                ? cudaMemoryTypeUnregistered
              : allocation->place == Place::device ? cudaMemoryTypeDevice
                                                   : cudaMemoryTypeHost;
  if (allocation != nullptr) out->devicePointer = const_cast<void*>(pointer);
  if (allocation == nullptr || allocation->place == Place::pinned) out->hostPointer = const_cast<void*>(pointer);
  return remember(cudaSuccess);
}

cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  LUFFY_RUNTIME_LOCK;
  note_call("copy %s %zu",
            kind == cudaMemcpyHostToDevice   ? "in"
            : kind == cudaMemcpyDeviceToHost ? "out"
                                             : "inside",
            bytes);
  return remember(copy_now_or_later(target, source, bytes, kind, stream));
}
cudaError_t cudaMemcpy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  LUFFY_RUNTIME_LOCK;
  const cudaError_t error = copy_now_or_later(target, source, bytes, kind, nullptr);
  drain(nullptr);
  return remember(error);
}
cudaError_t cudaMemcpy2DAsync(void* target, size_t target_pitch, const void* source, size_t source_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  LUFFY_RUNTIME_LOCK;
  if (width > target_pitch || width > source_pitch) return remember(cudaErrorInvalidPitchValue);
  for (size_t row = 0; row < height; ++row) {
    const cudaError_t error =
        copy_now_or_later(static_cast<char*>(target) + row * target_pitch,
                          static_cast<const char*>(source) + row * source_pitch, width, kind, stream);
    if (error != cudaSuccess) return remember(error);
  }
  return remember(cudaSuccess);
}
cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream) {
  LUFFY_RUNTIME_LOCK;
  const char* reason = nullptr;
  if (bytes > 0 && find_allocation(target, bytes, &reason) == nullptr)
    return remember(set_memory(target, value, bytes));
  enqueue(stream, [=] {
    const cudaError_t late = set_memory(target, value, bytes);
    if (late != cudaSuccess) set_sticky_error(late);
  });
  return remember(cudaSuccess);
}
cudaError_t cudaMemset(void* target, int value, size_t bytes) {
  LUFFY_RUNTIME_LOCK;
  const cudaError_t error = cudaMemsetAsync(target, value, bytes, nullptr);
  drain(nullptr);
  return remember(error);
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute attribute, int value) {
  const bool too_much = attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && value > most_shared_memory();
  return remember(too_much ? cudaErrorInvalidValue : cudaSuccess);
}
// Registers and spills are what ptxas says (native/ops/kernel-budgets.json); nothing of that is known here.
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void*) {
  std::memset(static_cast<void*>(out), 0, sizeof *out);
  out->maxThreadsPerBlock = 1024;
  out->maxDynamicSharedSizeBytes = most_shared_memory();
  return remember(cudaSuccess);
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int threads,
                                                                   size_t shared_bytes, unsigned) {
  if (threads <= 0 || threads > 1024) return remember(cudaErrorInvalidValue);
  *blocks = 2048 / threads < 32 ? 2048 / threads : 32;
  const size_t room = static_cast<size_t>(most_shared_memory()) + 1024;
  if (shared_bytes > 0 && static_cast<size_t>(*blocks) > room / (shared_bytes + 1024))
    *blocks = static_cast<int>(room / (shared_bytes + 1024));
  return remember(cudaSuccess);
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads,
                                                          size_t shared_bytes) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, kernel, threads, shared_bytes, 0);
}

#define LUFFY_ERRORS(X)                                                  \
  X(cudaSuccess, "no error")                                             \
  X(cudaErrorInvalidValue, "invalid argument")                           \
  X(cudaErrorMemoryAllocation, "out of memory")                          \
  X(cudaErrorInvalidConfiguration, "invalid configuration argument")     \
  X(cudaErrorInvalidPitchValue, "invalid pitch argument")                \
  X(cudaErrorInvalidDeviceFunction, "invalid device function")           \
  X(cudaErrorNoDevice, "no CUDA-capable device is detected")             \
  X(cudaErrorInvalidDevice, "invalid device ordinal")                    \
  X(cudaErrorInvalidResourceHandle, "invalid resource handle")           \
  X(cudaErrorNotReady, "device not ready")                               \
  X(cudaErrorIllegalAddress, "an illegal memory access was encountered") \
  X(cudaErrorLaunchFailure, "unspecified launch failure")                \
  X(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version")

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define X(name, text) \
  case name:          \
    return #name;
    LUFFY_ERRORS(X)
#undef X
    default:
      return "unrecognized error code";
  }
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
#define X(name, text) \
  case name:          \
    return text;
    LUFFY_ERRORS(X)
#undef X
    default:
      return "unrecognized error code";
  }
}

}  // extern "C"
