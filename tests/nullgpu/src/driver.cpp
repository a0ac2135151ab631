// The CUDA driver, as far as Triton, torch.compile and PyTorch's own loading of kernels use it. The library is found
// under the driver's name as well.
#include <cuda.h>

#include "nullgpu.h"

using nullgpu::interned;

namespace {

const CUcontext CONTEXT = reinterpret_cast<CUcontext>(8);

// A function is its name, which is all that is known of it here.
CUfunction function_named(const char* name) {
  return reinterpret_cast<CUfunction>(const_cast<char*>(interned(std::string("triton ") + name)));
}

CUresult start(CUfunction function, CUstream stream) {
  const cudaError_t error = nullgpu::launch(stream, reinterpret_cast<const char*>(function));
  return error == cudaSuccess ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}

template <class T>
CUresult answer(T* place, T value) {
  *place = value;
  return CUDA_SUCCESS;
}

CUresult load_module(CUmodule* module) { return answer(module, reinterpret_cast<CUmodule>(16)); }

}  // namespace

SUCCEEDS(CUresult, cuInit, unsigned)
SUCCEEDS(CUresult, cuCtxSetCurrent, CUcontext)
SUCCEEDS(CUresult, cuCtxSetLimit, CUlimit, size_t)
SUCCEEDS(CUresult, cuModuleUnload, CUmodule)
SUCCEEDS(CUresult, cuFuncSetAttribute, CUfunction, CUfunction_attribute, int)
SUCCEEDS(CUresult, cuFuncSetCacheConfig, CUfunction, CUfunc_cache)

API CUresult cuDriverGetVersion(int* version) { return answer(version, nullgpu::VERSION); }
API CUresult cuDeviceGetCount(int* count) { return answer(count, nullgpu::device_count()); }
API CUresult cuDeviceGet(CUdevice* device, int ordinal) { return answer(device, ordinal); }
API CUresult cuCtxGetDevice(CUdevice* device) { return answer(device, nullgpu::current_device()); }
API CUresult cuCtxGetCurrent(CUcontext* context) { return answer(context, CONTEXT); }
API CUresult cuCtxGetLimit(size_t* value, CUlimit) { return answer<size_t>(value, 1 << 20); }
API CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) { return answer(context, CONTEXT); }

API CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned* flags, int* active) {
  *flags = 0;
  return answer(active, 1);
}

API CUresult cuGetErrorString(CUresult, const char** text) { return answer(text, "an error of the null GPU"); }
API CUresult cuGetErrorName(CUresult, const char** text) { return answer(text, "CUDA_ERROR"); }

API CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  using namespace nullgpu;
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return answer(value, MAX_THREADS_PER_BLOCK);
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return answer(value, MAX_THREADS_PER_MULTIPROCESSOR);
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return answer(value, SHARED_MEMORY);
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return answer(value, SHARED_MEMORY_OPT_IN);
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
      return answer(value, SHARED_MEMORY_PER_MULTIPROCESSOR);
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: return answer(value, REGISTERS);
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return answer(value, MULTIPROCESSORS);
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return answer(value, WARP_SIZE);
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return answer(value, CAPABILITY_MAJOR);
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return answer(value, CAPABILITY_MINOR);
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return answer(value, 1410000);
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return answer(value, 1215000);
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: return answer(value, 5120);
    default: return answer(value, 1);
  }
}

API CUresult cuModuleLoad(CUmodule* module, const char*) { return load_module(module); }
API CUresult cuModuleLoadData(CUmodule* module, const void*) { return load_module(module); }
API CUresult cuModuleLoadDataEx(CUmodule* module, const void*, unsigned, CUjit_option*, void**) {
  return load_module(module);
}

API CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  return answer(function, function_named(name));
}

API CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction) {
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return answer(value, nullgpu::MAX_THREADS_PER_BLOCK);
    case CU_FUNC_ATTRIBUTE_NUM_REGS: return answer(value, 32);
    default: return answer(value, 0);  // no register is spilled, no shared memory taken
  }
}

API CUresult cuLaunchKernel(
    CUfunction function, unsigned x, unsigned y, unsigned z, unsigned, unsigned, unsigned, unsigned, CUstream stream,
    void**, void**) {
  return x && y && z ? start(function, stream) : CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void**, void**) {
  return config->gridDimX && config->gridDimY && config->gridDimZ ? start(function, config->hStream)
                                                                  : CUDA_ERROR_INVALID_VALUE;
}

// Triton asks with this whether the device can reach a pointer.
API CUresult cuPointerGetAttribute(void* value, CUpointer_attribute attribute, CUdeviceptr pointer) {
  const bool reachable = nullgpu::kind_of(reinterpret_cast<const void*>(pointer)) != nullgpu::Memory::pageable;
  if (!reachable) return CUDA_ERROR_INVALID_VALUE;
  if (attribute == CU_POINTER_ATTRIBUTE_DEVICE_POINTER) return answer(static_cast<CUdeviceptr*>(value), pointer);
  return answer(static_cast<int*>(value), static_cast<int>(CU_MEMORYTYPE_DEVICE));
}

API CUresult cuOccupancyMaxActiveClusters(int* clusters, CUfunction, const CUlaunchConfig*) {
  return answer(clusters, 1);
}

API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction, int, size_t) {
  return answer(blocks, 2);
}
