// The CUDA backend's runtime and its plugin: memory by cudaMalloc, one stream per device, copies of pageable memory
// through pinned staging. Compiled by nvcc into luffy_cuda.so and by g++ into luffy_emulated.so.
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "../ops/cublaslt.h"
#include "../ops/matmul-bf16.cuh"
#include "../ops/op-list.h"
#include "cu.cuh"
#include "errors.h"
#include "plugin.h"

#ifndef LUFFY_PLUGIN_NAME
#define LUFFY_PLUGIN_NAME "cuda"
#endif

namespace luffy {

extern const OpTable op_table_cuda;

namespace {

// Bytes that pass through pinned memory at a time, one half being filled while the other is on its way.
constexpr size_t kStagingHalf = size_t{4} << 20;

void check_cuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw DeviceFailure(std::string(what) + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")");
}

class CudaRuntime : public Runtime {
 public:
  explicit CudaRuntime(int ordinal) : ordinal_(ordinal) {
    try {
      open();
    } catch (...) {
      close();
      throw;
    }
  }
  ~CudaRuntime() override { close(); }

  void* allocate(size_t bytes) override {
    select();
    void* data = nullptr;
    const cudaError_t error = cudaMalloc(&data, bytes == 0 ? 1 : bytes);
    if (error == cudaSuccess) return data;
    // Only this error is taken away: one that a kernel left stays.
    cudaGetLastError();
    if (error != cudaErrorMemoryAllocation) check_cuda(error, "allocating memory of the device");
    return nullptr;
  }
  void release(void* data) override {
    // Of a device that failed nothing can be given back, and whoever waits is told of that.
    if (cudaSetDevice(ordinal_) != cudaSuccess) return;
    // What was launched may still use it.
    cudaStreamSynchronize(stream_);
    cudaFree(data);
  }
  size_t free_memory() override {
    size_t free_bytes = 0;
    size_t total = 0;
    if (cudaSetDevice(ordinal_) != cudaSuccess) return 0;
    return cudaMemGetInfo(&free_bytes, &total) == cudaSuccess ? free_bytes : 0;
  }

  void write(void* to, const void* from, size_t bytes) override {
    select();
    for (size_t done = 0; done < bytes;) {
      const size_t part = bytes - done < kStagingHalf ? bytes - done : kStagingHalf;
      const int half = next_half();
      char* staging = static_cast<char*>(staging_) + static_cast<size_t>(half) * kStagingHalf;
      std::memcpy(staging, static_cast<const char*>(from) + done, part);
      check_cuda(cudaMemcpyAsync(static_cast<char*>(to) + done, staging, part, cudaMemcpyHostToDevice, stream_),
                 "copying to the device");
      check_cuda(cudaEventRecord(half_done_[half], stream_), "recording an event");
      done += part;
    }
  }
  void read(void* to, const void* from, size_t bytes) override {
    select();
    for (size_t done = 0; done < bytes;) {
      const size_t part = bytes - done < kStagingHalf ? bytes - done : kStagingHalf;
      const int half = next_half();
      char* staging = static_cast<char*>(staging_) + static_cast<size_t>(half) * kStagingHalf;
      check_cuda(cudaMemcpyAsync(staging, static_cast<const char*>(from) + done, part, cudaMemcpyDeviceToHost, stream_),
                 "copying from the device");
      check_cuda(cudaStreamSynchronize(stream_), "a kernel failed");
      std::memcpy(static_cast<char*>(to) + done, staging, part);
      done += part;
    }
    throw_fault();
  }
  void finish() override {
    select();
    check_cuda(cudaStreamSynchronize(stream_), "a kernel failed");
    throw_fault();
  }

  void select() override { check_cuda(cudaSetDevice(ordinal_), "selecting a device"); }

  FaultRecord* faults() override { return faults_; }

  void* stream() override { return stream_; }
  std::string describe() override {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, ordinal_) != cudaSuccess) return "";
    return std::string(properties.name) + ", compute " + std::to_string(properties.major) + "." +
           std::to_string(properties.minor);
  }

  void open_products(Context& context, const std::function<void*(size_t bytes)>& take) override {
    select();
    auto library = cuda::CublasLt::open(take, products_);
    try {
      if (library != nullptr) products_.reason = cuda::check_cublaslt(context, *this, *library);
    } catch (const OutOfMemory&) {
      products_.reason = "there is no memory to try it";
    } catch (const DeviceFailure& failure) {
      // Nothing can be launched any more.
      throw DeviceFailure("trying " + products_.file + ": " + failure.what() + "; deterministic: true leaves it out");
    }
    if (!products_.reason.empty()) return;
    cublaslt_ = std::move(library);
    context.cublaslt = cublaslt_.get();
  }
  ProductLibrary products() override { return cublaslt_ == nullptr ? products_ : cublaslt_->state(); }

 private:
  void open() {
    select();
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
    check_cuda(cudaMallocHost(&staging_, 2 * kStagingHalf), "allocating pinned memory");
    for (cudaEvent_t& event : half_done_) {
      check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
    }
    // Pinned memory is the device's as well: a kernel writes it only when it finds something, and looking costs nothing.
    void* record = nullptr;
    check_cuda(cudaMallocHost(&record, sizeof(FaultRecord)), "allocating pinned memory");
    faults_ = static_cast<FaultRecord*>(record);
    clear_faults(*faults_);
  }
  void close() {
    cudaSetDevice(ordinal_);
    if (stream_ != nullptr) cudaStreamSynchronize(stream_);
    cublaslt_.reset();
    for (cudaEvent_t event : half_done_) {
      if (event != nullptr) cudaEventDestroy(event);
    }
    if (faults_ != nullptr) cudaFreeHost(faults_);
    if (staging_ != nullptr) cudaFreeHost(staging_);
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }
  // After a wait: what kernels found, once.
  void throw_fault() {
    if (faults_->sequence == 0) return;
    char text[300];
    fault_message(*faults_, text, sizeof text);
    const uint64_t sequence = faults_->sequence;
    clear_faults(*faults_);
    throw FaultError(text, sequence);
  }
  // The half of the staging memory whose copy was started longer ago, when that copy is done.
  int next_half() {
    half_ = 1 - half_;
    check_cuda(cudaEventSynchronize(half_done_[half_]), "waiting for a copy");
    return half_;
  }

  int ordinal_;
  cudaStream_t stream_ = nullptr;
  void* staging_ = nullptr;
  FaultRecord* faults_ = nullptr;
  ProductLibrary products_{"", "", "the device is deterministic"};
  std::unique_ptr<cuda::CublasLt> cublaslt_;
  cudaEvent_t half_done_[2] = {};
  int half_ = 0;
};

int device_count(std::string& reason) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return count;
  int driver = 0;
  int runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  const auto version = [](int number) {
    return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
  };
  reason = driver == 0 ? "no NVIDIA driver was found (CUDA " + version(runtime) + " is needed)"
           : driver / 1000 < runtime / 1000
               ? "the NVIDIA driver is for CUDA " + version(driver) + ", CUDA " + version(runtime) + " is needed"
           : error == cudaSuccess || error == cudaErrorNoDevice
               ? "the NVIDIA driver found no GPU"
               : std::string("the NVIDIA driver said: ") + cudaGetErrorString(error);
  return 0;
}

std::unique_ptr<Runtime> open(int ordinal) { return std::make_unique<CudaRuntime>(ordinal); }

}  // namespace
}  // namespace luffy

extern "C" __attribute__((visibility("default"))) const luffy::Plugin* luffy_plugin() {
  static const luffy::Plugin plugin{luffy::Plugin::kVersion,
                                    sizeof(luffy::OpTable),
                                    sizeof(luffy::Context),
                                    LUFFY_PLUGIN_NAME,
                                    &luffy::op_table_cuda,
                                    luffy::device_count,
                                    luffy::open,
                                    luffy::cuda::CublasLt::find};
  return &plugin;
}
