// Random numbers from a counter: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// No state: the same key and counter give the same numbers on every backend, thread count and run, so resuming needs
// numbers and no generator.
#pragma once

#include <cstdint>

#include "macros.h"

namespace luffy {

struct Philox {
  uint32_t word[4];
};

LUFFY_HOST_DEVICE Philox philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = 0xD2511F53ull * c0;
    const uint64_t b = 0xCD9E8D57ull * c2;
    const uint32_t x0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    const uint32_t x2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(b);
    c3 = static_cast<uint32_t>(a);
    c0 = x0;
    c2 = x2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// A double in [0, 1) from two words (53 bits).
LUFFY_HOST_DEVICE double uniform(uint32_t high, uint32_t low) {
  return static_cast<double>((static_cast<uint64_t>(high) << 21) ^ (low >> 11)) * 0x1.0p-53;
}

}  // namespace luffy
