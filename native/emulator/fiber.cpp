// Stacks, the switch between them, and what the sanitizers and valgrind must be told about it. This file is never
// compiled with a sanitizer itself: their functions are weak, so one object serves every flavour.
#include <algorithm>
#include <csetjmp>
#include <csignal>
#include <cstring>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "machine.h"

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define LUFFY_VALGRIND 1
#endif
#endif

extern "C" {
void __sanitizer_start_switch_fiber(void** save, const void* bottom, size_t size) __attribute__((weak));
void __sanitizer_finish_switch_fiber(void* save, const void** bottom, size_t* size) __attribute__((weak));
void __asan_poison_memory_region(void const volatile* address, size_t size) __attribute__((weak));
void __asan_unpoison_memory_region(void const volatile* address, size_t size) __attribute__((weak));
void __asan_storeN(uintptr_t address, size_t size) __attribute__((weak));
void __asan_loadN(uintptr_t address, size_t size) __attribute__((weak));
void* __tsan_get_current_fiber() __attribute__((weak));
void* __tsan_create_fiber(unsigned flags) __attribute__((weak));
void __tsan_destroy_fiber(void* fiber) __attribute__((weak));
void __tsan_switch_to_fiber(void* fiber, unsigned flags) __attribute__((weak));
void __tsan_acquire(void* address) __attribute__((weak));
void __tsan_release(void* address) __attribute__((weak));
void __tsan_read_range(void* address, unsigned long size) __attribute__((weak));
void __tsan_write_range(void* address, unsigned long size) __attribute__((weak));
void __tsan_ignore_thread_begin() __attribute__((weak));
void __tsan_ignore_thread_end() __attribute__((weak));

void emulator_switch(void** save, void* load);
void emulator_fiber_start();
}

#if defined(__x86_64__)
// `pop; jmp` and not `ret`: the return predictor would miss every time (7 ns instead of 11).
asm(R"(
.text
.globl emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmp *%rcx
.size emulator_switch, .-emulator_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl emulator_switch
.type emulator_switch, %function
emulator_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  br x30
.size emulator_switch, .-emulator_switch
)");
#else
#error "the emulator knows x86-64 and aarch64"
#endif

namespace emulator {

namespace {

// Sanitized code uses several times the stack.
constexpr size_t kStackSize = 256 * 1024;
// ThreadSanitizer clears the shadow of a stack, four times its size, for every CUDA thread.
constexpr size_t kRaceStackSize = 48 * 1024;
constexpr size_t kFinishedRaceFibers = 6000;
// Stacks at equal offsets fall into the same cache sets; 17 lines apart they do not (20 ns a switch otherwise).
constexpr size_t kColour = 17 * 64;

struct Stack {
  char* memory;
  unsigned id;
  bool used;
};
std::vector<Stack> free_stacks;
// Threads for ThreadSanitizer, which holds 8,128 and takes long to make one: used again by the next launch, within a
// launch only when it has very many, since two CUDA threads that share one never race with each other.
std::vector<void*> finished_race_fibers, free_race_fibers;

void* take_race_fiber() {
  if (__tsan_create_fiber == nullptr) return nullptr;
  if (free_race_fibers.empty()) return __tsan_create_fiber(0);
  void* const fiber = free_race_fibers.back();
  free_race_fibers.pop_back();
  return fiber;
}
size_t stacks_made = 0;

void* main_stack_pointer;
void* main_sanitizer_stack;
const void* main_bottom;
size_t main_size;
void* main_race_fiber;

size_t stack_size() { return race_detection() ? kRaceStackSize : kStackSize; }

Stack take_stack() {
  if (!free_stacks.empty()) {
    Stack stack = free_stacks.back();
    free_stacks.pop_back();
    if (race_detection() && stack.used) {
      // The intercepted munmap clears the shadow of the old thread's accesses; the mapping itself comes back at once.
      munmap(stack.memory, stack_size());
      syscall(SYS_mmap, stack.memory, stack_size(), PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    }
    return stack;
  }
  // One page without access below each stack: an overflow is a fault, not a silent write into the neighbour.
  char* memory = static_cast<char*>(
      mmap(nullptr, stack_size() + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (memory == MAP_FAILED) kernel_error("no memory for the stacks of the launch");
  mprotect(memory, 4096, PROT_NONE);
  Stack stack{memory + 4096, 0, false};
#ifdef LUFFY_VALGRIND
  stack.id = VALGRIND_STACK_REGISTER(stack.memory, stack.memory + stack_size());
#endif
  return stack;
}

void enter_fiber(Fiber* to) {
  current = to;
  if (__tsan_switch_to_fiber != nullptr) __tsan_switch_to_fiber(to->race_fiber, 1);
}

void fiber_start() {
  if (__sanitizer_finish_switch_fiber != nullptr) {
    const void* bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
    if (main_bottom == nullptr) {
      main_bottom = bottom;
      main_size = size;
    }
  }
  run_fiber_body();
}

}  // namespace

KernelThread* current = nullptr;
bool fault_seen = false;

void prepare_fiber(Fiber* fiber) {
  const Stack stack = take_stack();
  fiber->stack = stack.memory;
  fiber->stack_size = stack_size();
  fiber->stack_id = stack.id;
  if (__asan_unpoison_memory_region != nullptr) __asan_unpoison_memory_region(stack.memory, stack_size());
#ifdef LUFFY_VALGRIND
  (void)VALGRIND_MAKE_MEM_UNDEFINED(stack.memory, stack_size());
#endif
  const size_t colour = race_detection() ? 0 : (stacks_made++ % 48) * kColour;
  uintptr_t top = reinterpret_cast<uintptr_t>(stack.memory) + stack_size() - colour;
  top &= ~uintptr_t{63};
#if defined(__x86_64__)
  // Six registers, the address to jump to, and a return address that ends every backtrace.
  void** words = reinterpret_cast<void**>(top - 8);
  *words = nullptr;
  *--words = reinterpret_cast<void*>(&fiber_start);
  for (int i = 0; i < 6; ++i) *--words = nullptr;
#else
  void** words = reinterpret_cast<void**>(top - 160);
  std::memset(words, 0, 160);
  words[11] = reinterpret_cast<void*>(&fiber_start);
#endif
  fiber->stack_pointer = words;
  fiber->race_fiber = take_race_fiber();
  fiber->sanitizer_stack = nullptr;
}

void give_back_stack(Fiber* fiber) {
  free_stacks.push_back({fiber->stack, fiber->stack_id, true});
  void* const race_fiber = fiber->race_fiber;
  fiber->race_fiber = nullptr;
  if (race_fiber == nullptr) return;
  if (fiber->state != State::finished) {
    __tsan_destroy_fiber(race_fiber);
    return;
  }
  finished_race_fibers.push_back(race_fiber);
  if (finished_race_fibers.size() < kFinishedRaceFibers) return;
  const auto half = finished_race_fibers.begin() + kFinishedRaceFibers / 2;
  free_race_fibers.insert(free_race_fibers.end(), finished_race_fibers.begin(), half);
  finished_race_fibers.erase(finished_race_fibers.begin(), half);
}

void release_fibers() {
  free_race_fibers.insert(free_race_fibers.end(), finished_race_fibers.begin(), finished_race_fibers.end());
  finished_race_fibers.clear();
}

void switch_from_main(Fiber* next) {
  if (__tsan_get_current_fiber != nullptr) main_race_fiber = __tsan_get_current_fiber();
  main_bottom = nullptr;
  enter_fiber(next);
  if (__sanitizer_start_switch_fiber != nullptr)
    __sanitizer_start_switch_fiber(&main_sanitizer_stack, next->stack, next->stack_size);
  emulator_switch(&main_stack_pointer, next->stack_pointer);
  if (__sanitizer_finish_switch_fiber != nullptr)
    __sanitizer_finish_switch_fiber(main_sanitizer_stack, nullptr, nullptr);
}

void switch_fiber(Fiber* from, Fiber* to) {
  enter_fiber(to);
  if (__sanitizer_start_switch_fiber != nullptr)
    __sanitizer_start_switch_fiber(from->state == State::finished ? nullptr : &from->sanitizer_stack, to->stack,
                                   to->stack_size);
  emulator_switch(&from->stack_pointer, to->stack_pointer);
  if (__sanitizer_finish_switch_fiber != nullptr)
    __sanitizer_finish_switch_fiber(from->sanitizer_stack, nullptr, nullptr);
}

void switch_to_main(Fiber* from) {
  current = nullptr;
  if (__tsan_switch_to_fiber != nullptr) __tsan_switch_to_fiber(main_race_fiber, 1);
  if (__sanitizer_start_switch_fiber != nullptr) __sanitizer_start_switch_fiber(nullptr, main_bottom, main_size);
  emulator_switch(&from->stack_pointer, main_stack_pointer);
  __builtin_unreachable();
}

void leave_to_main(Fiber* from) {
  switch_to_main(from);
  __builtin_unreachable();
}

RuntimeScope::RuntimeScope() {
  if (__tsan_ignore_thread_begin != nullptr) __tsan_ignore_thread_begin();
}
RuntimeScope::~RuntimeScope() {
  if (__tsan_ignore_thread_end != nullptr) __tsan_ignore_thread_end();
}
bool race_detection() { return __tsan_create_fiber != nullptr; }
bool address_sanitizer() { return __asan_poison_memory_region != nullptr; }
void race_release(void* object) {
  if (__tsan_release != nullptr) __tsan_release(object);
}
void race_acquire(void* object) {
  if (__tsan_acquire != nullptr) __tsan_acquire(object);
}
void race_write(const void* pointer, size_t bytes) {
  if (__tsan_write_range != nullptr) __tsan_write_range(const_cast<void*>(pointer), bytes);
}
void race_read(const void* pointer, size_t bytes) {
  if (__tsan_read_range != nullptr) __tsan_read_range(const_cast<void*>(pointer), bytes);
}
void sanitizer_check_write(void* pointer, size_t bytes) {
  if (__asan_storeN != nullptr && bytes > 0) __asan_storeN(reinterpret_cast<uintptr_t>(pointer), bytes);
}
void sanitizer_check_read(const void* pointer, size_t bytes) {
  if (__asan_loadN != nullptr && bytes > 0) __asan_loadN(reinterpret_cast<uintptr_t>(pointer), bytes);
}
void set_poisoned(void* pointer, size_t bytes, bool poisoned) {
  if (__asan_poison_memory_region == nullptr) return;
  if (poisoned)
    __asan_poison_memory_region(pointer, bytes);
  else
    __asan_unpoison_memory_region(pointer, bytes);
}
void mark_undefined(void* pointer, size_t bytes) {
#ifdef LUFFY_VALGRIND
  (void)VALGRIND_MAKE_MEM_UNDEFINED(pointer, bytes);
#else
  (void)pointer;
  (void)bytes;
#endif
}

// A wild access in a kernel is the kernel's error, not the end of the process. The sanitizers have their own handler.
namespace {
struct sigaction old_segv, old_bus;
char* signal_stack;

void on_fault(int signal, siginfo_t* info, void*) {
  if (current == nullptr) {
    sigaction(SIGSEGV, &old_segv, nullptr);
    sigaction(SIGBUS, &old_bus, nullptr);
    return;
  }
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  fault_seen = true;
  kernel_error("illegal memory access at %p", info->si_addr);
}
}  // namespace

void install_fault_handler() {
  if (address_sanitizer() || race_detection()) return;
  if (signal_stack == nullptr) signal_stack = new char[64 * 1024];
  stack_t alternative{};
  alternative.ss_sp = signal_stack;
  alternative.ss_size = 64 * 1024;
  sigaltstack(&alternative, nullptr);
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &old_segv);
  sigaction(SIGBUS, &action, &old_bus);
}
void restore_fault_handler() {
  if (address_sanitizer() || race_detection()) return;
  sigaction(SIGSEGV, &old_segv, nullptr);
  sigaction(SIGBUS, &old_bus, nullptr);
  // Leaving the handler by a switch left the kernel's alternate stack marked as in use only by address; drop it.
  stack_t none{};
  none.ss_flags = SS_DISABLE;
  sigaltstack(&none, nullptr);
}

}  // namespace emulator
