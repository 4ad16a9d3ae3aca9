// zoo --list | zoo NAME...: prints what became of each; exit code 0 right, 3 wrong value, 4 CUDA error, 7 without a
// device.
#include <cstring>
#include <exception>

#include "zoo.h"

int main(int count, char** names) {
  int code = 0;
  int ran = 0;
  int devices = 0;
  const bool only_names = count > 1 && std::strcmp(names[1], "--list") == 0;
  const cudaError_t found = only_names ? cudaSuccess : cudaGetDeviceCount(&devices);
  if (found != cudaSuccess) {
    std::printf("no device: %s\n", cudaGetErrorString(found));
    return 7;
  }
  for (int i = 1; i < count; ++i) {
    for (const Animal* animal = Animal::first(); animal != nullptr; animal = animal->next) {
      if (std::strcmp(names[i], "--list") == 0) {
        std::printf("%s\n", animal->name);
        ++ran;
        continue;
      }
      if (std::strcmp(names[i], animal->name) != 0) continue;
      ++ran;
      try {
        const bool right = animal->run();
        const cudaError_t error = cudaDeviceSynchronize();
        if (error != cudaSuccess) luffy::fail("%s", cudaGetErrorString(error));
        std::printf("%s: %s\n", animal->name, right ? "right" : "wrong value");
        if (!right) code = 3;
      } catch (const std::exception& error) {
        std::printf("%s: %s\n", animal->name, error.what());
        code = 4;
      }
    }
  }
  if (ran == 0) std::printf("no such animal\n");
  return ran == 0 ? 2 : code;
}
