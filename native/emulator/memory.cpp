// Memory of the emulated device: shared arrays, cp.async in flight, distributed shared memory.
#include <cstdlib>
#include <cstring>

#include "machine.h"

namespace emulator {

namespace {

// Behind every shared array, except under AddressSanitizer, which has its own.
constexpr size_t kTail = 64;

struct SharedPiece {
  char* memory;
  size_t bytes;
};
std::vector<SharedPiece> pieces;

bool tail_is_intact(const SharedPiece& piece) {
  if (address_sanitizer()) return true;
  for (size_t i = 0; i < kTail; ++i)
    if (static_cast<unsigned char>(piece.memory[piece.bytes + i]) != 0xff) return false;
  return true;
}

}  // namespace

char* take_shared(size_t bytes) {
  const size_t tail = address_sanitizer() ? 0 : kTail;
  void* memory = nullptr;
  if (posix_memalign(&memory, 128, bytes + tail) != 0) kernel_error("no memory for %zu bytes of shared memory", bytes);
  std::memset(memory, 0xff, bytes + tail);
  pieces.push_back({static_cast<char*>(memory), bytes});
  return static_cast<char*>(memory);
}

// After each gang the bytes behind every array are looked at; the memory itself is kept for the next one.
void give_back_shared(bool launch_ends) {
  for (const SharedPiece& piece : pieces) {
    if (grid != nullptr && !grid->failed && !tail_is_intact(piece)) {
      report("%s: a block wrote past the end of a shared array of %zu bytes", grid->call->name, piece.bytes);
      grid->failed = true;
    }
    if (launch_ends) std::free(piece.memory);
  }
  if (launch_ends) pieces.clear();
}

void* shared_array(size_t bytes, Site site) {
  Block* block = self()->block;
  for (const SharedArray& array : block->arrays)
    if (array.site.line == site.line && array.bytes == bytes && std::strcmp(array.site.file, site.file) == 0)
      return array.memory;
  RuntimeScope scope;
  char* memory = take_shared(bytes);
  mark_undefined(memory, bytes);
  block->arrays.push_back({site, bytes, memory});
  return memory;
}

void* dynamic_shared() {
  if (self()->block->dynamic == nullptr) kernel_error("dynamic shared memory used, but the launch gave none");
  return self()->block->dynamic;
}
size_t dynamic_shared_size() { return self()->block->dynamic_bytes; }

// The array of `block` that holds `pointer`, as (which, offset); the dynamic memory counts as the last.
static bool find_shared(const Block* block, const char* pointer, size_t* which, size_t* offset) {
  for (size_t i = 0; i <= block->arrays.size(); ++i) {
    const bool last = i == block->arrays.size();
    const char* memory = last ? block->dynamic : block->arrays[i].memory;
    const size_t bytes = last ? block->dynamic_bytes : block->arrays[i].bytes;
    if (memory == nullptr || pointer < memory || pointer >= memory + bytes) continue;
    *which = i;
    *offset = static_cast<size_t>(pointer - memory);
    return true;
  }
  return false;
}

bool is_shared(const void* pointer) {
  size_t which = 0, offset = 0;
  return find_shared(self()->block, static_cast<const char*>(pointer), &which, &offset);
}

void* map_shared(const void* pointer, unsigned rank) {
  RuntimeScope scope;
  Block* mine = self()->block;
  if (rank >= mine->gang->blocks.size()) kernel_error("block %u of the cluster does not exist", rank);
  Block* other = mine->gang->blocks[rank];
  const char* at = static_cast<const char*>(pointer);
  if (mine->ptx_window != nullptr) {
    if (at < mine->ptx_window || at >= mine->ptx_window + mine->ptx_window_bytes)
      kernel_error("%p is not in this block's shared memory", pointer);
    return other->ptx_window + (at - mine->ptx_window);
  }
  size_t which = 0, offset = 0;
  if (!find_shared(mine, at, &which, &offset)) kernel_error("%p is not in this block's shared memory", pointer);
  if (which == mine->arrays.size()) return other->dynamic + offset;
  // The other block may not have reached the declaration yet.
  const SharedArray array = mine->arrays[which];
  for (const SharedArray& candidate : other->arrays)
    if (candidate.site.line == array.site.line && candidate.bytes == array.bytes &&
        std::strcmp(candidate.site.file, array.site.file) == 0)
      return candidate.memory + offset;
  char* memory = take_shared(array.bytes);
  other->arrays.push_back({array.site, array.bytes, memory});
  return memory + offset;
}

bool touches_cluster(const void* pointer, size_t bytes, Site site) {
  RuntimeScope scope;
  const char* at = static_cast<const char*>(pointer);
  for (const Block* block : self()->block->gang->blocks) {
    size_t which = 0, offset = 0;
    const bool in_window =
        block->ptx_window != nullptr && at >= block->ptx_window && at < block->ptx_window + block->ptx_window_bytes;
    if (!in_window && !find_shared(block, at, &which, &offset)) continue;
    if (block->finished > 0)
      kernel_error("%zu bytes of block (%u,%u,%u)'s shared memory used at %s:%d after threads of it left the kernel",
                   bytes, block->index.x, block->index.y, block->index.z, short_name(site), site.line);
    return true;
  }
  return false;
}

void check_cluster_access(const void* pointer, size_t bytes, Site site) {
  if (!touches_cluster(pointer, bytes, site))
    kernel_error("%p (%s:%d) is not in the cluster's shared memory", pointer, short_name(site), site.line);
}

// cp.async

namespace {

void land(PendingCopy& copy) {
  if (copy.landed) return;
  copy.landed = true;
  race_read(copy.source, copy.valid);
  race_write(copy.target, copy.bytes);
  RuntimeScope scope;
  std::memcpy(copy.target, copy.source, copy.valid);
  std::memset(copy.target + copy.valid, 0, copy.bytes - copy.valid);
}

}  // namespace

void copy_async(void* target, const void* source, unsigned bytes, unsigned valid, Site site) {
  if (reinterpret_cast<uintptr_t>(target) % bytes != 0 ||
      (valid > 0 && reinterpret_cast<uintptr_t>(source) % bytes != 0))
    kernel_error("cp.async of %u bytes from %p to %p is not aligned (%s:%d)", bytes, source, target, short_name(site),
                 site.line);
  if (valid > bytes)
    kernel_error("cp.async of %u bytes takes %u from its source (%s:%d)", bytes, valid, short_name(site), site.line);
  sanitizer_check_write(target, bytes);
  sanitizer_check_read(source, valid);
  race_write(target, bytes);
  if (tracing && valid > 0) count_access(source, valid, false, site);
  RuntimeScope scope;
  std::memset(target, 0xff, bytes);
  PendingCopy copy{static_cast<char*>(target), static_cast<const char*>(source), bytes, valid, false};
  self()->open_copies.push_back(copy);
}

void copy_commit() {
  RuntimeScope scope;
  Fiber* me = self();
  me->copy_groups.push_back(std::move(me->open_copies));
  me->open_copies.clear();
}

void copy_wait(unsigned groups_left) {
  Fiber* me = self();
  while (me->copy_groups.size() > groups_left) {
    for (PendingCopy& copy : me->copy_groups.front()) land(copy);
    RuntimeScope scope;
    me->copy_groups.pop_front();
  }
  // A later group may be there already: under the random schedule half of them are.
  if (schedule == Schedule::random)
    for (auto& group : me->copy_groups)
      for (PendingCopy& copy : group)
        if (random_number() & 1) land(copy);
}

void land_all_copies(Fiber* fiber) {
  if (fiber->copy_groups.empty() && fiber->open_copies.empty()) return;
  copy_commit();
  copy_wait(0);
}

void forget_copies(Fiber* fiber) {
  fiber->open_copies.clear();
  fiber->copy_groups.clear();
}

}  // namespace emulator
