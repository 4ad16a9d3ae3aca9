// Loads and stores of 2 to 16 bytes (counted by the emulator, one instruction each), cp.async, fences and atomics that
// publish, distributed shared memory.
#pragma once

// Sixteen bytes of T, moved by one instruction.
template <class T>
struct alignas(16) Pack {
  static constexpr int size = 16 / static_cast<int>(sizeof(T));
  T at[size];
};

#ifdef __CUDACC__
#define LUFFY_COUNT(pointer, bytes, is_store, site)
#else
#define LUFFY_COUNT(pointer, bytes, is_store, site) ::emulator::check_access(pointer, bytes, is_store, site)
#endif

// Any T of 1, 2, 4, 8 or 16 bytes, aligned to its size.
template <class T>
DEV T ld(const T* pointer, Site site = LUFFY_HERE) {
  LUFFY_COUNT(pointer, sizeof(T), false, site);
  (void)site;
  return *pointer;
}
template <class T>
DEV void st(T* pointer, T value, Site site = LUFFY_HERE) {
  LUFFY_COUNT(pointer, sizeof(T), true, site);
  (void)site;
  *pointer = value;
}

// Sixteen bytes of global memory. The store is an intrinsic, not an assignment: nvcc splits some assignments in four.
template <class T>
DEV Pack<T> ld128(const T* pointer, Site site = LUFFY_HERE) {
  LUFFY_COUNT(pointer, 16, false, site);
  (void)site;
  Pack<T> pack;
  *reinterpret_cast<uint4*>(&pack) = *reinterpret_cast<const uint4*>(pointer);
  return pack;
}
template <class T>
DEV void st128(T* pointer, const Pack<T>& pack, Site site = LUFFY_HERE) {
  LUFFY_COUNT(pointer, 16, true, site);
  (void)site;
  __stwb(reinterpret_cast<uint4*>(pointer), *reinterpret_cast<const uint4*>(&pack));
}
// Eight bytes, by an intrinsic for the same reason.
DEV void st64(void* pointer, uint2 words, Site site = LUFFY_HERE) {
  LUFFY_COUNT(pointer, 8, true, site);
  (void)site;
  __stwb(static_cast<uint2*>(pointer), words);
}
// Read once or written once: does not push other data out of the cache.
template <class T>
DEV Pack<T> ld128_once(const T* pointer, Site site = LUFFY_HERE) {
  LUFFY_COUNT(pointer, 16, false, site);
  (void)site;
  Pack<T> pack;
  *reinterpret_cast<uint4*>(&pack) = __ldcs(reinterpret_cast<const uint4*>(pointer));
  return pack;
}
template <class T>
DEV void st128_once(T* pointer, const Pack<T>& pack, Site site = LUFFY_HERE) {
  LUFFY_COUNT(pointer, 16, true, site);
  (void)site;
  __stcs(reinterpret_cast<uint4*>(pointer), *reinterpret_cast<const uint4*>(&pack));
}

DEV float to_float(float x) { return x; }
DEV float to_float(bf16 x) { return __bfloat162float(x); }
template <class T>
DEV T from_float(float x);
template <>
DEV float from_float<float>(float x) {
  return x;
}
template <>
DEV bf16 from_float<bf16>(float x) {
  return __float2bfloat16_rn(x);
}

// 16 bytes from global to shared memory, past the registers; `valid` bytes are read and the rest is zero. Both addresses
// are multiples of 16. The data is there after commit, wait and a barrier, and not before.
DEV void cp_async16(void* target, const void* source, int valid = 16, Site site = LUFFY_HERE) {
#ifdef __CUDACC__
  (void)site;
  const uint32_t to = static_cast<uint32_t>(__cvta_generic_to_shared(target));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(source), "r"(valid) : "memory");
#else
  ::emulator::copy_async(target, source, 16, static_cast<unsigned>(valid), site);
#endif
}
DEV void cp_async_commit() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  ::emulator::copy_commit();
#endif
}
// Waits until at most `left` of the groups this thread has committed are under way.
template <int left>
DEV void cp_async_wait() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#else
  ::emulator::copy_wait(left);
#endif
}
// The same with a number known at run time, from 0 to 7 (more waits for as many as 7 leave).
DEV void cp_async_wait_until(int left) {
  switch (left) {
    case 0:
      return cp_async_wait<0>();
    case 1:
      return cp_async_wait<1>();
    case 2:
      return cp_async_wait<2>();
    case 3:
      return cp_async_wait<3>();
    case 4:
      return cp_async_wait<4>();
    case 5:
      return cp_async_wait<5>();
    case 6:
      return cp_async_wait<6>();
    default:
      return cp_async_wait<7>();
  }
}

// Publishing across blocks: the writer stores with release, the reader loads with acquire.
DEV uint32_t ld_acquire(const uint32_t* pointer) {
#ifdef __CUDACC__
  uint32_t value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(pointer) : "memory");
  return value;
#else
  ::emulator::spin();
  const uint32_t value = __atomic_load_n(pointer, __ATOMIC_RELAXED);
  ::emulator::fence();
  return value;
#endif
}
DEV void st_release(uint32_t* pointer, uint32_t value) {
#ifdef __CUDACC__
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(pointer), "r"(value) : "memory");
#else
  ::emulator::fence();
  __atomic_store_n(pointer, value, __ATOMIC_RELAXED);
#endif
}

// Clusters (sm_90 and later). Elsewhere a block is alone in its cluster, and the same source runs.
DEV unsigned cluster_rank() {
#ifndef __CUDACC__
  return ::emulator::current->cluster_rank;
#elif KARCH >= 900
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#else
  return 0;
#endif
}
// All threads of the cluster, and what they wrote to shared memory.
DEV void cluster_sync(Site site = LUFFY_HERE) {
#ifndef __CUDACC__
  ::emulator::cluster_barrier(site);
#elif KARCH >= 900
  (void)site;
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
  (void)site;
  __syncthreads();
#endif
}
// Where block `rank` of the cluster has this shared address.
template <class T>
DEV T* cluster_map(T* pointer, unsigned rank) {
#ifndef __CUDACC__
  return static_cast<T*>(::emulator::map_shared(pointer, rank));
#elif KARCH >= 900
  uint64_t there;
  asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(pointer), "r"(rank));
  return reinterpret_cast<T*>(there);
#else
  (void)rank;
  return pointer;
#endif
}
// A load through such an address. The other block must not leave before: end with cluster_sync().
template <class T>
DEV T ld_cluster(const T* pointer, Site site = LUFFY_HERE) {
#ifndef __CUDACC__
  ::emulator::check_cluster_access(pointer, sizeof(T), site);
#endif
  (void)site;
  return *pointer;
}
