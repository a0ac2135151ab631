// The CUDA runtime: devices, and the launch of kernels.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "nullgpu.h"

namespace nullgpu {
namespace {

struct Configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};

std::mutex& lock = *new std::mutex;
std::unordered_map<const void*, const char*>& kernels = *new std::unordered_map<const void*, const char*>;
thread_local std::vector<Configuration> configurations;  // a launch by <<<…>>> first pushes one, then pops it
thread_local int device_now = 0;

const char* kernel_name(const void* function) {
  std::lock_guard<std::mutex> guard(lock);
  auto found = kernels.find(function);
  return found == kernels.end() ? "unknown kernel" : found->second;
}

cudaError_t launch_kernel(const void* function, dim3 grid, dim3 block, cudaStream_t stream) {
  const size_t threads = static_cast<size_t>(block.x) * block.y * block.z;
  if (!grid.x || !grid.y || !grid.z || !threads || threads > MAX_THREADS_PER_BLOCK)
    return fail(cudaErrorInvalidConfiguration);
  return launch(stream, kernel_name(function));
}

}  // namespace

int device_count() {
  static const char* wanted = std::getenv("NULLGPU_DEVICES");
  static const int count = wanted ? std::clamp(std::atoi(wanted), 0, 64) : 1;
  return count;
}

int current_device() { return device_now; }

std::string device_name(int device) { return "Null GPU " + std::to_string(device); }

}  // namespace nullgpu

using namespace nullgpu;

// ---- kernels: the compiler registers each, and calls these for <<<…>>>

API void** __cudaRegisterFatBinary(void*) { return static_cast<void**>(std::calloc(2, sizeof(void*))); }
API void __cudaRegisterFatBinaryEnd(void**) {}
API void __cudaUnregisterFatBinary(void**) {}
API void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
API char __cudaInitModule(void**) { return 1; }

API void __cudaRegisterFunction(
    void**, const char* function, char*, const char* name, int, void*, void*, void*, void*, int*) {
  const char* kept = interned(name);
  std::lock_guard<std::mutex> guard(lock);
  kernels[function] = kept;
}

API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}

API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  const Configuration last = configurations.back();
  configurations.pop_back();
  *grid = last.grid;
  *block = last.block;
  *shared = last.shared;
  *static_cast<cudaStream_t*>(stream) = last.stream;
  return cudaSuccess;
}

API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}

API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void**, size_t, cudaStream_t stream) {
  return launch_kernel(kernel, grid, block, stream);
}

API cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void**, size_t, cudaStream_t stream) {
  return launch_kernel(function, grid, block, stream);
}

API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void**) {
  return launch_kernel(function, config->gridDim, config->blockDim, config->stream);
}

API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  attributes->maxThreadsPerBlock = MAX_THREADS_PER_BLOCK;
  attributes->numRegs = 32;
  attributes->binaryVersion = attributes->ptxVersion = 10 * CAPABILITY_MAJOR + CAPABILITY_MINOR;
  attributes->maxDynamicSharedSizeBytes = SHARED_MEMORY;
  return cudaSuccess;
}

SUCCEEDS(cudaError_t, cudaFuncSetAttribute, const void*, cudaFuncAttribute, int)

API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    int* blocks, const void*, int threads, size_t, unsigned) {
  *blocks = std::max(1, MAX_THREADS_PER_MULTIPROCESSOR / std::max(threads, 1));
  return cudaSuccess;
}

API cudaError_t cudaGetSymbolAddress(void** address, const void*) {
  static char room[1 << 16];
  *address = room;
  return cudaSuccess;
}

SUCCEEDS(cudaError_t, cudaMemcpyToSymbol, const void*, const void*, size_t, size_t, cudaMemcpyKind)

// ---- devices

API cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count();
  return *count ? cudaSuccess : fail(cudaErrorNoDevice);
}

API cudaError_t cudaGetDevice(int* device) {
  *device = device_now;
  return cudaSuccess;
}

API cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= device_count()) return fail(cudaErrorInvalidDevice);
  device_now = device;
  return cudaSuccess;
}

API cudaError_t cudaDriverGetVersion(int* version) {
  *version = VERSION;
  return cudaSuccess;
}

API cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }

API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {};
  std::strncpy(properties->name, device_name(device).c_str(), sizeof properties->name - 1);
  properties->totalGlobalMem = MEMORY_BYTES;
  properties->major = CAPABILITY_MAJOR;
  properties->minor = CAPABILITY_MINOR;
  properties->multiProcessorCount = MULTIPROCESSORS;
  properties->warpSize = WARP_SIZE;
  properties->maxThreadsPerBlock = MAX_THREADS_PER_BLOCK;
  properties->maxThreadsPerMultiProcessor = MAX_THREADS_PER_MULTIPROCESSOR;
  properties->maxBlocksPerMultiProcessor = 32;
  properties->maxThreadsDim[0] = properties->maxThreadsDim[1] = 1024;
  properties->maxThreadsDim[2] = 64;
  properties->maxGridSize[0] = 2147483647;
  properties->maxGridSize[1] = properties->maxGridSize[2] = 65535;
  properties->regsPerBlock = properties->regsPerMultiprocessor = REGISTERS;
  properties->sharedMemPerBlock = SHARED_MEMORY;
  properties->sharedMemPerBlockOptin = SHARED_MEMORY_OPT_IN;
  properties->sharedMemPerMultiprocessor = SHARED_MEMORY_PER_MULTIPROCESSOR;
  properties->l2CacheSize = 40 << 20;
  properties->memoryBusWidth = 5120;
  properties->textureAlignment = 512;
  properties->concurrentKernels = properties->unifiedAddressing = 1;
  return cudaSuccess;
}

API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = MAX_THREADS_PER_BLOCK; break;
    case cudaDevAttrMultiProcessorCount: *value = MULTIPROCESSORS; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = SHARED_MEMORY; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = SHARED_MEMORY_OPT_IN; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = SHARED_MEMORY_PER_MULTIPROCESSOR; break;
    case cudaDevAttrWarpSize: *value = WARP_SIZE; break;
    case cudaDevAttrComputeCapabilityMajor: *value = CAPABILITY_MAJOR; break;
    case cudaDevAttrComputeCapabilityMinor: *value = CAPABILITY_MINOR; break;
    case cudaDevAttrMaxGridDimX: *value = 2147483647; break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: *value = 65535; break;
    default: *value = 1;  // yes, to whether something is supported
  }
  return cudaSuccess;
}

API cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}

API cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  std::snprintf(id, length, "0000:%02x:00.0", device);
  return cudaSuccess;
}

API cudaError_t cudaDeviceGetStreamPriorityRange(int* lowest, int* highest) {
  *lowest = 0;
  *highest = -5;
  return cudaSuccess;
}

SUCCEEDS(cudaError_t, cudaDeviceEnablePeerAccess, int, unsigned)
SUCCEEDS(cudaError_t, cudaProfilerStart, void)
SUCCEEDS(cudaError_t, cudaProfilerStop, void)

// PyTorch asks for functions of the driver by name, and does without those that are not there.
API cudaError_t cudaGetDriverEntryPointByVersion(
    const char*, void** function, unsigned, unsigned long long, cudaDriverEntryPointQueryResult* result) {
  *function = nullptr;
  if (result) *result = cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

API const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: return "an error of the null GPU";
  }
}

API const char* cudaGetErrorName(cudaError_t error) {
  return interned("cudaError " + std::to_string(static_cast<int>(error)));
}
