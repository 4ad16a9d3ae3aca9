# luffy_cuda.so, the CUDA backend as a plugin: the kernels, the runtime, and what of native/core they call. cudart is
# linked statically, so that the file needs a driver and nothing else. Two programs over the same objects test and time
# the kernels where there is no Node: --target luffy_kernel_tests luffy_kernel_bench.
read_list(LUFFY_CUDA_SOURCES sources cuda)
read_list(LUFFY_PLUGIN_CORE sources pluginCore)
read_list(LUFFY_PROGRAM_CORE sources programCore)
read_list(LUFFY_KERNEL_TESTS sources kernelTests)
read_list(LUFFY_KERNEL_BENCH sources kernelBench)

function(luffy_cuda_settings target)
  target_compile_definitions(${target} PRIVATE LUFFY_BACKEND=cuda)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:${LUFFY_COMPILE}>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++17;-O3;-Xcompiler=-fPIC,-fvisibility=hidden;--expt-relaxed-constexpr;-lineinfo>")
  set_target_properties(${target} PROPERTIES CUDA_STANDARD 17 CXX_STANDARD 17)
endfunction()

add_library(luffy_cuda_objects OBJECT ${LUFFY_CUDA_SOURCES} ${LUFFY_PLUGIN_CORE})
luffy_cuda_settings(luffy_cuda_objects)

add_library(luffy_cuda SHARED $<TARGET_OBJECTS:luffy_cuda_objects>)
target_link_libraries(luffy_cuda PRIVATE ${CMAKE_DL_LIBS})
set_target_properties(luffy_cuda PROPERTIES
  PREFIX "" SUFFIX ".so" LIBRARY_OUTPUT_DIRECTORY "${LUFFY_OUTPUT}" LINKER_LANGUAGE CUDA)

foreach(program tests bench)
  string(TOUPPER ${program} name)
  add_executable(luffy_kernel_${program} EXCLUDE_FROM_ALL
    $<TARGET_OBJECTS:luffy_cuda_objects> ${LUFFY_PROGRAM_CORE} ${LUFFY_KERNEL_${name}})
  luffy_cuda_settings(luffy_kernel_${program})
  target_link_libraries(luffy_kernel_${program} PRIVATE ${CMAKE_DL_LIBS} pthread)
  set_target_properties(luffy_kernel_${program} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${LUFFY_OUTPUT}" LINKER_LANGUAGE CUDA)
endforeach()
