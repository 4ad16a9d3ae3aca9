// Seeded bugs of the host side: pointers, copies, streams, launches.
#include "zoo.h"

static float value(size_t i) { return static_cast<float>(i % 1000); }

KERNEL(32) add_one(const float* in, float* out) { out[threadIdx.x] = in[threadIdx.x] + 1.0f; }

ZOO(host_pointer, "host-pointer-to-kernel") {
  std::vector<float> in(32, 1.0f);
  Array<float> out(32);
  launch<add_one>(Launch(1, 32), in.data(), out.data);  // bug: in is host memory
  return equals(out.read(), [](size_t) { return 2; });
}

ZOO(freed_pointer, "freed-pointer-to-kernel") {
  float* in = nullptr;
  {
    Array<float> gone(32, value);
    in = gone.data;
  }
  Array<float> out(64);
  launch<add_one>(Launch(1, 32), in, out.data);  // bug: in is freed
  return true;
}

struct Pair {
  const float* in;
  int scale;
};
KERNEL(32) scale_by(Pair pair, float* out) { out[threadIdx.x] = pair.in[threadIdx.x] * static_cast<float>(pair.scale); }
ZOO(struct_pointer, "host-pointer-in-a-struct") {
  std::vector<float> in(32, 1.0f);
  Array<float> out(32);
  launch<scale_by>(Launch(1, 32), Pair{in.data(), 2}, out.data);  // bug: in is host memory
  return equals(out.read(), [](size_t) { return 2; });
}

ZOO(copy_long, "copy-longer-than-its-target") {
  Array<float> target(32, value);
  const std::vector<float> source(33, 1.0f);
  Array<float>::check(cudaMemcpy(target.data, source.data(), 33 * sizeof(float), cudaMemcpyHostToDevice));  // bug: 33
  return true;
}

ZOO(copy_kind, "copy-of-the-wrong-kind") {
  Array<float> target(32, value);
  const std::vector<float> source(32, 1.0f);
  Array<float>::check(cudaMemcpy(target.data, source.data(), 128, cudaMemcpyDeviceToDevice));  // bug: from the host
  return true;
}

ZOO(host_reads, "host-reads-device-memory") {
  Array<float> data(32, value);
  const volatile float* p = data.data;
  return p[3] == 3.0f;  // bug: only a copy may look there
}

ZOO(no_wait, "async-copy-without-wait") {
  Array<float> in(32, value);
  float* pinned = nullptr;
  cudaStream_t stream = nullptr;
  Array<float>::check(cudaMallocHost(reinterpret_cast<void**>(&pinned), 128));
  Array<float>::check(cudaStreamCreate(&stream));
  Array<float>::check(cudaMemcpyAsync(pinned, in.data, 128, cudaMemcpyDeviceToHost, stream));
  const std::vector<float> seen(pinned, pinned + 32);  // bug: the copy may not have happened
  cudaStreamSynchronize(stream);
  cudaStreamDestroy(stream);
  cudaFreeHost(pinned);
  return equals(seen, value);
}

// One stream writes, another reads: an event must stand between.
static bool two_streams(bool with_event) {
  Array<float> in(32, value), middle(32), out(32);
  cudaStream_t first = nullptr, second = nullptr;
  cudaEvent_t event = nullptr;
  Array<float>::check(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
  Array<float>::check(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  Array<float>::check(cudaEventCreate(&event));
  launch<add_one>(Launch(1, 32, 0, first), in.data, middle.data);
  if (with_event) {
    Array<float>::check(cudaEventRecord(event, first));
    Array<float>::check(cudaStreamWaitEvent(second, event, 0));
  }
  launch<add_one>(Launch(1, 32, 0, second), middle.data, out.data);
  Array<float>::check(cudaStreamSynchronize(second));
  std::vector<float> got(32);
  Array<float>::check(cudaMemcpy(got.data(), out.data, 128, cudaMemcpyDeviceToHost));
  const bool right = equals(got, [](size_t i) { return value(i) + 2.0f; });
  cudaEventDestroy(event);
  cudaStreamDestroy(first);
  cudaStreamDestroy(second);
  return right;
}
ZOO(no_event, "streams-without-event") { return two_streams(false); }
ZOO(event, "control-streams-with-event") { return two_streams(true); }

ZOO(pageable, "control-pageable-copies") {
  Array<float> data(32);
  cudaStream_t stream = nullptr;
  Array<float>::check(cudaStreamCreate(&stream));
  std::vector<float> host(32);
  for (size_t i = 0; i < 32; ++i) host[i] = value(i);
  Array<float>::check(cudaMemcpyAsync(data.data, host.data(), 128, cudaMemcpyHostToDevice, stream));
  host.assign(32, -1.0f);  // allowed: a copy from pageable memory is staged
  Array<float>::check(cudaMemcpyAsync(host.data(), data.data, 128, cudaMemcpyDeviceToHost, stream));
  const bool right = equals(host, value);  // allowed: a copy to pageable memory waits
  cudaStreamDestroy(stream);
  return right;
}

ZOO(double_free, "double-free") {
  float* data = nullptr;
  Array<float>::check(cudaMalloc(reinterpret_cast<void**>(&data), 128));
  Array<float>::check(cudaFree(data));
  Array<float>::check(cudaFree(data));  // bug
  return true;
}

ZOO(leak, "leaked-allocation") {
  float* data = nullptr;
  Array<float>::check(cudaMalloc(reinterpret_cast<void**>(&data), 128));  // bug: never freed
  return true;
}

ZOO(too_many, "block-of-too-many-threads") {
  Array<float> in(2048, value), out(2048);
  launch<add_one>(Launch(1, 2048), in.data, out.data);  // bug: at most 1024
  return true;
}

ZOO(out_of_memory, "control-out-of-memory") {
  void* data = nullptr;
  if (cudaMalloc(&data, size_t{1} << 45) != cudaErrorMemoryAllocation) return false;
  return cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess && data == nullptr;
}
