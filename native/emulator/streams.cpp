// Streams and events, errors that stick, and the launch itself. Eager by default: work runs when it is enqueued.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <set>
#include <string>
#include <unistd.h>

#include "runtime.h"

namespace emulator {

namespace {

cudaError_t sticky = cudaSuccess;
cudaError_t last = cudaSuccess;
unsigned errors = 0;
std::string last_text;

CUstream_st& null_stream() {
  static auto* stream = new CUstream_st;
  return *stream;
}
std::set<cudaStream_t>& streams() {
  static auto* set = new std::set<cudaStream_t>;
  return *set;
}
bool is_null(cudaStream_t stream) {
  return stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread;
}
CUstream_st* real(cudaStream_t stream) { return is_null(stream) ? &null_stream() : stream; }
bool is_known(cudaStream_t stream) { return is_null(stream) || streams().count(stream) > 0; }

double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

std::map<const void*, PtxKernel>& ptx_kernels() {
  static auto* map = new std::map<const void*, PtxKernel>;
  return *map;
}

}  // namespace

void report(const char* format, ...) {
  char text[2048];
  int length = std::snprintf(text, sizeof text, "emulator: ");
  va_list arguments;
  va_start(arguments, format);
  length += std::vsnprintf(text + length, sizeof text - 2 - static_cast<size_t>(length), format, arguments);
  va_end(arguments);
  if (length > static_cast<int>(sizeof text) - 2) length = sizeof text - 2;
  ++errors;
  last_text.assign(text, static_cast<size_t>(length));
  text[length++] = '\n';
  if (write(STDERR_FILENO, text, static_cast<size_t>(length)) < 0) ++errors;
}

unsigned error_count() { return errors; }
const char* last_error() { return last_text.c_str(); }
void reset_device() {
  drain_all();
  sticky = last = cudaSuccess;
  errors = 0;
  last_text.clear();
}

std::recursive_mutex& runtime_mutex() {
  static auto* mutex = new std::recursive_mutex;
  return *mutex;
}
void set_sticky_error(cudaError_t error) {
  if (sticky == cudaSuccess) sticky = error;
  last = sticky;
}
cudaError_t sticky_error() { return sticky; }
cudaError_t remember(cudaError_t error) {
  if (sticky != cudaSuccess) error = sticky;
  if (error != cudaSuccess) last = error;
  return error;
}
bool lazy_streams() {
  const char* text = std::getenv("EMULATOR_STREAMS");
  return text != nullptr && std::strcmp(text, "lazy") == 0;
}
bool ptx_leg() {
  const char* text = std::getenv("EMULATOR_LEG");
  return text != nullptr && std::strcmp(text, "ptx") == 0;
}
const PtxKernel* find_ptx_kernel(const void* kernel) {
  const auto it = ptx_kernels().find(kernel);
  return it == ptx_kernels().end() ? nullptr : &it->second;
}
void register_ptx_kernel(const void* kernel, void (*run)(void**), size_t static_shared_bytes) {
  ptx_kernels()[kernel] = {run, static_shared_bytes};
}

void drain(cudaStream_t stream, uint64_t ticket) {
  CUstream_st* s = real(stream);
  while (s->done < ticket && !s->work.empty()) {
    const auto work = std::move(s->work.front());
    s->work.pop_front();
    if (sticky == cudaSuccess) work();
    ++s->done;
  }
}

void drain_all() {
  drain(nullptr);
  for (cudaStream_t stream : std::set<cudaStream_t>(streams())) drain(stream);
}

void enqueue(cudaStream_t stream, std::function<void()> work) {
  CUstream_st* s = real(stream);
  // The null stream and blocking streams wait for each other's earlier work.
  std::map<CUstream_st*, uint64_t> before;
  if (s == &null_stream()) {
    for (cudaStream_t other : streams())
      if (other->blocking && !other->work.empty()) before[other] = other->enqueued;
  } else if (s->blocking && !null_stream().work.empty()) {
    before[&null_stream()] = null_stream().enqueued;
  }
  s->work.push_back([before, work = std::move(work)] {
    for (const auto& [other, ticket] : before) drain(other == &null_stream() ? nullptr : other, ticket);
    work();
  });
  ++s->enqueued;
  if (!lazy_streams()) drain(stream);
}

cudaError_t enqueue_kernel(const Shape& shape, Call call) {
  LUFFY_RUNTIME_LOCK;
  if (sticky != cudaSuccess) return sticky;
  const uint64_t threads = uint64_t{shape.block.x} * shape.block.y * shape.block.z;
  const uint64_t blocks = uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z;
  const char* wrong = nullptr;
  if (threads == 0 || threads > 1024 || shape.block.z > 64) wrong = "the block has no or too many threads";
  if (blocks == 0 || shape.grid.x > 0x7fffffffu || shape.grid.y > 65535 || shape.grid.z > 65535)
    wrong = "the grid is empty or too large";
  if (shape.shared_bytes > static_cast<size_t>(most_shared_memory()))
    wrong = "more shared memory than a block may have";
  if (shape.cluster > 1 && architecture() < 90) wrong = "clusters need sm_90";
  if (shape.cluster == 0 || shape.cluster > 8 || shape.grid.x % shape.cluster != 0)
    wrong = "the cluster does not divide the grid or has more than 8 blocks";
  if (!is_known(shape.stream)) wrong = "the stream does not exist";
  if (wrong != nullptr) {
    report("%s <<<(%u,%u,%u), (%u,%u,%u), %zu>>>: %s", call.name, shape.grid.x, shape.grid.y, shape.grid.z,
           shape.block.x, shape.block.y, shape.block.z, shape.shared_bytes, wrong);
    return remember(cudaErrorInvalidConfiguration);
  }
  // As on a device: a kernel goes to a stream of the device that this thread has selected.
  if (!is_null(shape.stream) && shape.stream->device != current_device()) {
    report("%s: the stream is of device %d, this thread has selected device %d", call.name, shape.stream->device,
           current_device());
    return remember(cudaErrorInvalidResourceHandle);
  }
  note_call("launch %s grid %u %u %u block %u %u %u shared %zu cluster %u", call.name, shape.grid.x, shape.grid.y,
            shape.grid.z, shape.block.x, shape.block.y, shape.block.z, shape.shared_bytes, shape.cluster);
  // As on a device, the launch itself succeeds: whoever waits finds the error.
  if (inject_fault(call)) return cudaSuccess;
  enqueue(shape.stream, [shape, call = std::move(call)] { run_grid(shape, call); });
  return cudaSuccess;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

cudaError_t cudaGetLastError() {
  LUFFY_RUNTIME_LOCK;
  const cudaError_t error = last;
  last = sticky;
  return error;
}
cudaError_t cudaPeekAtLastError() { return last; }

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* out, unsigned flags, int) {
  LUFFY_RUNTIME_LOCK;
  if (out == nullptr) return remember(cudaErrorInvalidValue);
  *out = new CUstream_st;
  (*out)->device = current_device();
  (*out)->blocking = (flags & cudaStreamNonBlocking) == 0;
  streams().insert(*out);
  return remember(cudaSuccess);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned flags) {
  return cudaStreamCreateWithPriority(out, flags, 0);
}
cudaError_t cudaStreamCreate(cudaStream_t* out) { return cudaStreamCreateWithPriority(out, 0, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  LUFFY_RUNTIME_LOCK;
  if (is_null(stream) || !is_known(stream)) return remember(cudaErrorInvalidResourceHandle);
  drain(stream);
  streams().erase(stream);
  delete stream;
  return remember(cudaSuccess);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  LUFFY_RUNTIME_LOCK;
  note_call("wait stream");
  if (!is_known(stream)) return remember(cudaErrorInvalidResourceHandle);
  drain(stream);
  return remember(cudaSuccess);
}
// A query lets one piece of work finish, so that a loop of queries ends.
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  LUFFY_RUNTIME_LOCK;
  if (!is_known(stream)) return remember(cudaErrorInvalidResourceHandle);
  if (real(stream)->work.empty()) return remember(cudaSuccess);
  drain(stream, real(stream)->done + 1);
  return cudaErrorNotReady;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return remember(cudaSuccess);
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  LUFFY_RUNTIME_LOCK;
  if (!is_known(stream) || function == nullptr) return remember(cudaErrorInvalidValue);
  enqueue(stream, [function, data] { function(data); });
  return remember(cudaSuccess);
}
cudaError_t cudaDeviceSynchronize() {
  LUFFY_RUNTIME_LOCK;
  note_call("wait device");
  drain_all();
  return remember(cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned) {
  LUFFY_RUNTIME_LOCK;
  if (out == nullptr) return remember(cudaErrorInvalidValue);
  *out = new CUevent_st;
  return remember(cudaSuccess);
}
cudaError_t cudaEventCreate(cudaEvent_t* out) { return cudaEventCreateWithFlags(out, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  LUFFY_RUNTIME_LOCK;
  // Work that would still write the time of the record runs first.
  if (event != nullptr && event->recorded && is_known(event->stream)) drain(event->stream, event->ticket);
  delete event;
  return remember(cudaSuccess);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  LUFFY_RUNTIME_LOCK;
  if (event == nullptr || !is_known(stream)) return remember(cudaErrorInvalidResourceHandle);
  event->stream = stream;
  event->recorded = true;
  event->ticket = real(stream)->enqueued + 1;
  enqueue(stream, [event] { event->seconds = now(); });
  return remember(cudaSuccess);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  LUFFY_RUNTIME_LOCK;
  note_call("wait event");
  if (event == nullptr) return remember(cudaErrorInvalidResourceHandle);
  if (event->recorded && is_known(event->stream)) drain(event->stream, event->ticket);
  return remember(cudaSuccess);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  LUFFY_RUNTIME_LOCK;
  if (event == nullptr) return remember(cudaErrorInvalidResourceHandle);
  if (!event->recorded || !is_known(event->stream)) return remember(cudaSuccess);
  CUstream_st* stream = real(event->stream);
  if (stream->done >= event->ticket) return remember(cudaSuccess);
  drain(event->stream, stream->done + 1);
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  LUFFY_RUNTIME_LOCK;
  if (start == nullptr || end == nullptr || !start->recorded || !end->recorded)
    return remember(cudaErrorInvalidResourceHandle);
  if (real(end->stream)->done < end->ticket) return cudaErrorNotReady;
  *milliseconds = static_cast<float>((end->seconds - start->seconds) * 1e3);
  return remember(cudaSuccess);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  LUFFY_RUNTIME_LOCK;
  if (event == nullptr || !is_known(stream)) return remember(cudaErrorInvalidResourceHandle);
  if (!event->recorded) return remember(cudaSuccess);
  const cudaStream_t other = event->stream;
  const uint64_t ticket = event->ticket;
  enqueue(stream, [other, ticket] {
    if (is_known(other)) drain(other, ticket);
  });
  return remember(cudaSuccess);
}

}  // extern "C"
