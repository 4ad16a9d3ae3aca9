#include "context.h"

#include "scratch.h"
#include "thread-pool.h"

namespace luffy {

int Context::threads() const { return pool_.threads(); }

void Context::run(int64_t count, void (*body)(void* argument, int64_t index, int thread), void* argument) {
  pool_.run(count, body, argument);
}

Context::ScratchMark Context::scratch_mark() const {
  const ScratchArena::Mark mark = arena_.mark();
  return {mark.blocks, mark.used};
}

void Context::scratch_release(ScratchMark mark) { arena_.release({mark.blocks, mark.used}); }

void* Context::scratch_bytes(size_t bytes) { return arena_.take(bytes); }

}  // namespace luffy
