# luffy_cuda.so, the CUDA backend as a plugin: the kernels, the runtime, and what of native/core they call. cudart is
# linked statically, so that the file needs a driver and nothing else.
read_list(LUFFY_CUDA_SOURCES sources cuda)
read_list(LUFFY_PLUGIN_CORE sources pluginCore)

add_library(luffy_cuda SHARED ${LUFFY_CUDA_SOURCES} ${LUFFY_PLUGIN_CORE})
target_compile_definitions(luffy_cuda PRIVATE LUFFY_BACKEND=cuda)
target_compile_options(luffy_cuda PRIVATE
  "$<$<COMPILE_LANGUAGE:CXX>:${LUFFY_COMPILE}>"
  "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++17;-O3;-Xcompiler=-fPIC,-fvisibility=hidden;--expt-relaxed-constexpr;-lineinfo>")
set_target_properties(luffy_cuda PROPERTIES
  PREFIX "" SUFFIX ".so" LIBRARY_OUTPUT_DIRECTORY "${LUFFY_OUTPUT}" CUDA_STANDARD 17 CXX_STANDARD 17)
