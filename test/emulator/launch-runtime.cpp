// A CUDA runtime that prints what launch-test.cu asks of it.
#include <cuda_runtime_api.h>

#include <cstdio>

extern "C" {

void** __cudaRegisterFatBinary(void*) { return nullptr; }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char*, char*, const char*, int, uint3*, uint3*, dim3*, dim3*, int*) {}

// Of `<<<>>>`, which nobody calls; which of them nvcc's code names depends on the toolkit.
void __cudaGetKernel() {}
void __cudaInitModule() {}
void __cudaLaunchKernel() {}
void __cudaPopCallConfiguration() {}
void __cudaPushCallConfiguration() {}
cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t) { return cudaErrorUnknown; }

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute attribute, int value) {
  std::printf("%s %d\n", attribute == cudaFuncAttributeMaxDynamicSharedMemorySize ? "most shared memory" : "?", value);
  return cudaSuccess;
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void*, void** arguments) {
  const dim3 grid = config->gridDim;
  const dim3 block = config->blockDim;
  std::printf("grid %u %u %u, block %u %u %u, shared %zu, stream %p", grid.x, grid.y, grid.z, block.x, block.y, block.z,
              config->dynamicSmemBytes, static_cast<void*>(config->stream));
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttribute& one = config->attrs[i];
    if (one.id == cudaLaunchAttributeClusterDimension) {
      std::printf(", cluster %u %u %u", one.val.clusterDim.x, one.val.clusterDim.y, one.val.clusterDim.z);
    } else if (one.id == cudaLaunchAttributeCooperative) {
      std::printf(", cooperative %d", one.val.cooperative);
    } else {
      std::printf(", attribute %d", static_cast<int>(one.id));
    }
  }
  std::printf(", arguments %d %p\n", *static_cast<int*>(arguments[0]), *static_cast<void**>(arguments[1]));
  return block.x > 1024 ? cudaErrorInvalidConfiguration : cudaSuccess;
}

const char* cudaGetErrorString(cudaError_t) { return "invalid configuration argument"; }
const char* cudaGetErrorName(cudaError_t) { return "cudaErrorInvalidConfiguration"; }

}  // extern "C"
