// Runs a grid: gangs of blocks one after another, the threads of a gang as fibers that change only where a CUDA
// thread may wait. Finds divergence, deadlock and threads that left too early, and names both places.
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <string>

#include "machine.h"

namespace emulator {

void give_back_stack(Fiber* fiber);

Grid* grid = nullptr;
Schedule schedule = Schedule::fifo;

namespace {

uint64_t random_state = 1;
constexpr unsigned kSpinLimit = 5'000'000;
unsigned spins = 0;
char start_edge, end_edge, fence_object;

// Ready fibers in order: fifo takes the oldest, lifo the newest, random any.
struct ReadyQueue {
  std::vector<Fiber*> ring;
  size_t head = 0, tail = 0;
  Fiber*& at(size_t i) { return ring[i & (ring.size() - 1)]; }
  void reset(size_t fibers) {
    size_t size = 64;
    while (size < fibers + 2) size *= 2;
    if (ring.size() < size) ring.resize(size);
    head = tail = ring.size();
  }
  bool empty() const { return head == tail; }
  void push(Fiber* fiber) { at(tail++) = fiber; }
  void push_last_choice(Fiber* fiber) {
    if (schedule == Schedule::lifo)
      at(--head) = fiber;
    else
      push(fiber);
  }
  Fiber* take() {
    if (schedule == Schedule::lifo) return at(--tail);
    if (schedule == Schedule::random) {
      std::swap(at(head + random_number() % (tail - head)), at(tail - 1));
      return at(--tail);
    }
    return at(head++);
  }
};
ReadyQueue ready;

void make_ready(Fiber* fiber) {
  fiber->state = State::ready;
  ready.push(fiber);
}

// Gives the processor to the next ready fiber, or to the main stack when there is none.
void switch_away(Fiber* me) {
  if (ready.empty()) switch_to_main(me);
  Fiber* next = ready.take();
  if (next != me) switch_fiber(me, next);
}

void wait(Fiber* me, const char* what, Site site) {
  me->state = State::waiting;
  me->waits_for = what;
  me->wait_site = site;
  switch_away(me);
  me->waits_for = nullptr;
}

bool same(Site a, Site b) { return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0); }

std::string thread_name(const Fiber* fiber) {
  char text[64];
  const uint3& i = fiber->thread_index;
  std::snprintf(text, sizeof text, "thread (%u,%u,%u)", i.x, i.y, i.z);
  return text;
}

int wait_at(Barrier& barrier, unsigned expected, bool one_site, const char* what, Vote vote, int value, Site site) {
  RuntimeScope scope;
  Fiber* me = self();
  if (barrier.arrived == 0) {
    barrier.site = site;
    barrier.first = me;
    barrier.sum = 0;
    barrier.expected = expected;
  } else if (one_site && !same(site, barrier.site)) {
    kernel_error("divergent %s: this thread waits at %s:%d, but %s waits at %s:%d", what, short_name(site), site.line,
                 thread_name(barrier.first).c_str(), short_name(barrier.site), barrier.site.line);
  }
  char* object = &barrier.sync_objects[barrier.generation & 1];
  race_release(object);
  barrier.sum += value != 0;
  if (++barrier.arrived == barrier.expected) {
    const int total = barrier.sum;
    const int result = vote == Vote::any   ? total > 0
                       : vote == Vote::all ? total == static_cast<int>(barrier.expected)
                                           : total;
    spins = 0;
    barrier.arrived = 0;
    ++barrier.generation;
    for (Fiber* fiber : barrier.waiting) {
      fiber->vote_result = result;
      make_ready(fiber);
    }
    barrier.waiting.clear();
    me->vote_result = result;
  } else {
    barrier.waiting.push_back(me);
    wait(me, what, site);
  }
  race_acquire(object);
  return me->vote_result;
}

const char* collective_name(Collective kind) {
  switch (kind) {
    case Collective::sync:
      return "__syncwarp";
    case Collective::shuffle:
      return "shuffle";
    case Collective::ballot:
      return "vote";
    case Collective::match:
      return "match";
    case Collective::reduce:
      return "reduce";
    case Collective::mma:
      return "mma";
    case Collective::ldmatrix:
      return "ldmatrix";
  }
  return "collective";
}

void check_exit(Fiber* me) {
  for (Barrier& barrier : me->block->barriers) {
    if (barrier.arrived == 0 || barrier.expected < me->block->fibers.size()) continue;
    kernel_error("this thread left the kernel, but %s waits at the block barrier %s:%d for all %u threads",
                 thread_name(barrier.first).c_str(), short_name(barrier.site), barrier.site.line, barrier.expected);
  }
  if (me->warp->under_way == 0) return;
  const uint32_t bit = 1u << (me->rank & 31);
  for (const ActiveCollective& active : me->warp->active) {
    if (active.arrived == 0 || (active.mask & bit) == 0) continue;
    kernel_error("this thread left the kernel, but %s waits for it at the %s of %s:%d (mask %08x)",
                 thread_name(active.first).c_str(), collective_name(active.kind), short_name(active.site),
                 active.site.line, active.mask);
  }
}

struct Pool {
  std::vector<Block*> blocks;
};
Pool pool;

void prepare_block(Block* block, Gang* gang, unsigned linear, unsigned cluster_rank) {
  const Shape& shape = *grid->shape;
  const unsigned count = shape.block.x * shape.block.y * shape.block.z;
  block->index = {linear % shape.grid.x, linear / shape.grid.x % shape.grid.y, linear / shape.grid.x / shape.grid.y};
  block->gang = gang;
  block->finished = 0;
  block->first_finished = nullptr;
  while (block->fibers.size() < count) block->fibers.push_back(new Fiber);
  while (block->fibers.size() > count) {
    delete block->fibers.back();
    block->fibers.pop_back();
  }
  block->warps.resize((count + 31) / 32);
  for (SharedArray& array : block->arrays) {
    if (race_detection()) array.memory = take_shared(array.bytes);
    std::memset(array.memory, 0xff, array.bytes);
    mark_undefined(array.memory, array.bytes);
  }
  if (grid->ptx != nullptr) {
    block->ptx_window_bytes = grid->ptx_static_bytes + shape.shared_bytes;
    if (block->ptx_window == nullptr || race_detection()) block->ptx_window = take_shared(block->ptx_window_bytes);
    std::memset(block->ptx_window, 0xff, block->ptx_window_bytes);
    mark_undefined(block->ptx_window, block->ptx_window_bytes);
  } else if (shape.shared_bytes > 0) {
    block->dynamic_bytes = shape.shared_bytes;
    if (block->dynamic == nullptr || race_detection()) block->dynamic = take_shared(shape.shared_bytes);
    std::memset(block->dynamic, 0xff, shape.shared_bytes);
    mark_undefined(block->dynamic, shape.shared_bytes);
  }
  for (unsigned rank = 0; rank < count; ++rank) {
    Fiber* fiber = block->fibers[rank];
    fiber->thread_index = {rank % shape.block.x, rank / shape.block.x % shape.block.y,
                           rank / shape.block.x / shape.block.y};
    fiber->block_index = block->index;
    fiber->block_size = shape.block;
    fiber->grid_size = shape.grid;
    fiber->rank = rank;
    fiber->cluster_rank = cluster_rank;
    fiber->cluster_size = shape.cluster;
    fiber->block = block;
    fiber->warp = &block->warps[rank / 32];
    fiber->warp->lanes[rank % 32] = fiber;
    if (rank % 32 == 0) fiber->warp->finished = 0;
    fiber->state = State::ready;
    prepare_fiber(fiber);
  }
  race_release(&start_edge);  // what was made for the block
}

// Groups the threads that still wait by what they wait for.
std::string describe_waiting(const Gang& gang) {
  std::map<std::string, unsigned> places;
  unsigned finished = 0;
  for (const Block* block : gang.blocks) {
    for (const Fiber* fiber : block->fibers) {
      if (fiber->state == State::finished) {
        ++finished;
        continue;
      }
      char text[256];
      std::snprintf(text, sizeof text, "%s at %s:%d", fiber->waits_for == nullptr ? "nothing" : fiber->waits_for,
                    fiber->wait_site.file == nullptr ? "?" : short_name(fiber->wait_site), fiber->wait_site.line);
      ++places[text];
    }
  }
  std::string text;
  for (const auto& [place, count] : places)
    text += (text.empty() ? "" : "; ") + std::to_string(count) + " threads wait for " + place;
  if (finished > 0) text += "; " + std::to_string(finished) + " have left";
  return text;
}

void forget_gang(Gang& gang) {
  for (Block* block : gang.blocks) {
    for (Fiber* fiber : block->fibers) {
      forget_copies(fiber);
      if (fiber->state != State::finished) give_back_stack(fiber);
    }
    for (Barrier& barrier : block->barriers) {
      barrier.arrived = 0;
      barrier.waiting.clear();
    }
    for (Warp& warp : block->warps) {
      warp.under_way = 0;
      for (ActiveCollective& active : warp.active) active.arrived = 0;
    }
  }
}

void run_gang(const std::vector<unsigned>& members) {
  Gang gang;
  while (pool.blocks.size() < members.size()) pool.blocks.push_back(new Block);
  for (size_t i = 0; i < members.size(); ++i) {
    gang.blocks.push_back(pool.blocks[i]);
    prepare_block(pool.blocks[i], &gang, members[i], static_cast<unsigned>(i));
  }
  const size_t per_block = gang.blocks[0]->fibers.size();
  const size_t total = per_block * members.size();
  ready.reset(total);
  for (size_t i = 0; i < total; ++i) {
    const size_t at = schedule == Schedule::reverse ? total - 1 - i : i;
    ready.push(gang.blocks[at / per_block]->fibers[at % per_block]);
  }
  spins = 0;
  switch_from_main(ready.take());
  bool all_finished = true;
  for (const Block* block : gang.blocks) all_finished &= block->finished == per_block;
  if (!all_finished && !grid->failed) {
    report("%s, block (%u,%u,%u): deadlock: %s", grid->call->name, gang.blocks[0]->index.x, gang.blocks[0]->index.y,
           gang.blocks[0]->index.z, describe_waiting(gang).c_str());
    grid->failed = true;
  }
  if (grid->failed) forget_gang(gang);
}

// Members of each gang, gangs in the schedule's order.
std::vector<std::vector<unsigned>> make_gangs(const Shape& shape) {
  const unsigned blocks = shape.grid.x * shape.grid.y * shape.grid.z;
  const unsigned size = shape.cooperative ? blocks : shape.cluster;
  std::vector<std::vector<unsigned>> gangs(blocks / size);
  for (unsigned i = 0; i < gangs.size(); ++i)
    for (unsigned j = 0; j < size; ++j) gangs[i].push_back(i * size + j);
  if (schedule == Schedule::reverse || schedule == Schedule::lifo) std::reverse(gangs.begin(), gangs.end());
  if (schedule == Schedule::random)
    for (size_t i = gangs.size(); i > 1; --i) std::swap(gangs[i - 1], gangs[random_number() % i]);
  return gangs;
}

void read_schedule() {
  const char* text = std::getenv("EMULATOR_SCHEDULE");
  schedule = Schedule::fifo;
  if (text == nullptr || *text == 0 || std::strcmp(text, "fifo") == 0) return;
  if (std::strcmp(text, "lifo") == 0) {
    schedule = Schedule::lifo;
  } else if (std::strcmp(text, "reverse") == 0) {
    schedule = Schedule::reverse;
  } else if (std::strncmp(text, "random", 6) == 0) {
    schedule = Schedule::random;
    if (random_state == 1 && text[6] == ':') random_state = std::strtoull(text + 7, nullptr, 10) * 2 + 3;
  } else {
    report("EMULATOR_SCHEDULE is '%s': expected fifo, lifo, reverse or random:SEED", text);
  }
}

}  // namespace

uint64_t random_number() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state >> 11;
}

const char* short_name(Site site) {
  const char* slash = std::strrchr(site.file, '/');
  return slash == nullptr ? site.file : slash + 1;
}

void kernel_error(const char* format, ...) {
  RuntimeScope scope;
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  Fiber* me = self();
  if (me == nullptr) throw std::bad_alloc();
  report("%s, block (%u,%u,%u) %s: %s", grid->call->name, me->block_index.x, me->block_index.y, me->block_index.z,
         thread_name(me).c_str(), text);
  grid->failed = true;
  leave_to_main(me);
}

void run_fiber_body() {
  Fiber* me = self();
  race_acquire(&start_edge);
  if (grid->ptx != nullptr)
    grid->ptx(grid->arguments);
  else
    grid->call->body();
  land_all_copies(me);
  race_release(&end_edge);
  {
    RuntimeScope scope;
    check_exit(me);
    spins = 0;
    me->state = State::finished;
    me->warp->finished |= 1u << (me->rank & 31);
    if (me->block->finished++ == 0) me->block->first_finished = me;
    give_back_stack(me);
  }
  switch_away(me);
  __builtin_unreachable();
}

int barrier(int id, unsigned count, Vote vote, int value, Site site) {
  Block* block = self()->block;
  const unsigned all = static_cast<unsigned>(block->fibers.size());
  if (block->finished > 0 && (count == 0 || count > all - block->finished))
    kernel_error("block barrier at %s:%d, but %s has already left the kernel", short_name(site), site.line,
                 thread_name(block->first_finished).c_str());
  return wait_at(block->barriers[id & 15], count == 0 ? all : count, count == 0, "block barrier", vote, value, site);
}

void cluster_barrier(Site site) {
  Gang* gang = self()->block->gang;
  unsigned expected = 0;
  for (const Block* block : gang->blocks) {
    expected += static_cast<unsigned>(block->fibers.size());
    if (block->finished > 0)
      kernel_error("cluster barrier at %s:%d, but a thread of block (%u,%u,%u) has already left the kernel",
                   short_name(site), site.line, block->index.x, block->index.y, block->index.z);
  }
  wait_at(gang->cluster_barrier, expected, true, "cluster barrier", Vote::none, 0, site);
}

void collective(Collective kind, uint32_t mask, void* mine, Combine combine, Site site) {
  RuntimeScope scope;
  Fiber* me = self();
  Warp* warp = me->warp;
  const unsigned lane = me->rank & 31;
  if ((mask >> lane & 1) == 0)
    kernel_error("%s at %s:%d with mask %08x, which does not name this lane (%u)", collective_name(kind),
                 short_name(site), site.line, mask, lane);
  if ((mask & warp->finished) != 0)
    kernel_error("%s at %s:%d with mask %08x: lanes %08x have already left the kernel", collective_name(kind),
                 short_name(site), site.line, mask, mask & warp->finished);
  const size_t left = me->block->fibers.size() - (me->rank & ~31u);
  const uint32_t present = left >= 32 ? 0xffffffffu : (1u << left) - 1;
  if ((mask & ~present) != 0)
    kernel_error("%s at %s:%d with mask %08x: the warp has only lanes %08x", collective_name(kind), short_name(site),
                 site.line, mask, present);
  ActiveCollective* slot = nullptr;
  ActiveCollective* unused = nullptr;
  for (ActiveCollective& active : warp->active) {
    if (active.arrived == 0) {
      if (unused == nullptr) unused = &active;
      if (active.generation == 0) break;  // never used, and so is all after it
      continue;
    }
    if (active.mask == mask && active.kind == kind && same(active.site, site)) {
      slot = &active;
      continue;
    }
    // Each of the two needs a lane that waits at the other.
    if ((active.arrived & mask) != 0 && (active.mask >> lane & 1) != 0)
      kernel_error("divergent warp: %s at %s:%d (mask %08x), but %s waits at the %s of %s:%d (mask %08x)",
                   collective_name(kind), short_name(site), site.line, mask, thread_name(active.first).c_str(),
                   collective_name(active.kind), short_name(active.site), active.site.line, active.mask);
  }
  if (slot == nullptr) {
    slot = unused;
    slot->mask = mask;
    slot->kind = kind;
    slot->site = site;
    slot->first = me;
    ++slot->generation;
    ++warp->under_way;
  }
  char* object = kind == Collective::sync ? &slot->sync_objects[slot->generation & 1] : nullptr;
  if (object != nullptr) race_release(object);
  slot->lanes[lane] = mine;
  slot->arrived |= 1u << lane;
  if (slot->arrived == mask) {
    if (combine != nullptr) combine(slot->lanes, mask);
    spins = 0;
    slot->arrived = 0;
    --warp->under_way;
    for (unsigned i = 0; i < 32; ++i)
      if (i != lane && (mask >> i & 1) != 0) make_ready(warp->lanes[i]);
  } else {
    wait(me, collective_name(kind), site);
  }
  if (object != nullptr) race_acquire(object);
}

void spin() {
  RuntimeScope scope;
  Fiber* me = self();
  if (++spins > kSpinLimit) kernel_error("a wait for memory never ends");
  ready.push_last_choice(me);
  switch_away(me);
}

void fence() {
  race_release(&fence_object);
  race_acquire(&fence_object);
}

void run_grid(const Shape& shape, const Call& call) {
  read_schedule();
  std::vector<void*> arguments(static_cast<size_t>(call.argument_count) + 1);
  call.arguments(arguments.data());
  Grid mine{&shape, &call, arguments.data(), nullptr, 0, false};
  if (ptx_leg()) {
    const PtxKernel* kernel = find_ptx_kernel(call.kernel);
    if (kernel == nullptr) {
      report("%s: no translated PTX for this kernel (is it static or in an unnamed namespace?)", call.name);
      set_sticky_error(cudaErrorInvalidDeviceFunction);
      return;
    }
    mine.ptx = kernel->run;
    mine.ptx_static_bytes = kernel->static_shared_bytes;
  }
  grid = &mine;
  for (Block* block : pool.blocks) {
    block->arrays.clear();
    block->dynamic = nullptr;
    block->dynamic_bytes = 0;
    block->ptx_window = nullptr;
  }
  open_device_memory();
  install_fault_handler();
  race_release(&start_edge);
  try {
    for (const auto& members : make_gangs(shape)) {
      run_gang(members);
      give_back_shared(false);
      if (tracing) flush_traffic();
      if (mine.failed) break;
    }
  } catch (const std::bad_alloc&) {
    report("%s: no memory to run the launch", call.name);
    mine.failed = true;
  }
  race_acquire(&end_edge);
  if (tracing) end_traffic(shape, call.name);
  release_fibers();
  restore_fault_handler();
  if (!close_device_memory(call.name)) mine.failed = true;
  give_back_shared(true);
  grid = nullptr;
  if (mine.failed) set_sticky_error(cudaErrorLaunchFailure);
}

}  // namespace emulator
