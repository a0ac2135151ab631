// A GPU that computes nothing: what the parts of the stand-in share.
//
// The library is preloaded before libcudart, cuBLAS, cuDNN and libcuda, so that PyTorch's CUDA build calls it instead.
// Kernels are counted and not run, and device memory is never read or written: every value that the host reads from
// the device is zero. All that PyTorch does on the host is real.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

static_assert(CUDART_VERSION / 1000 == 13, "the signatures are those of CUDA 13");

#define API extern "C" __attribute__((visibility("default")))

// Defines a function that has nothing to do.
#define SUCCEEDS(result, name, ...) \
  API result name(__VA_ARGS__) { return static_cast<result>(0); }

namespace nullgpu {

// Mirrored field by field by `Counters` in ../counters.py.
struct Counters {
  long launches;         // what the host started: kernels, copies, fills, and graphs as one each
  long kernels;          // the same with the contents of graphs, one by one
  long graph_launches;   // replays of graphs
  long syncs;            // calls that wait for the device
  long pageable_copies;  // copies from or to host memory that is not pinned: they make the host wait
  long mallocs;          // cudaMalloc
  long host_allocs;      // cudaHostAlloc and cudaHostRegister
  long captures;         // captures begun
  long violations;       // calls that a capture forbids
};

// ---- counters.cpp
enum class Count {
  launches, kernels, graph_launches, syncs, pageable_copies, mallocs, host_allocs, captures, violations
};
void add(Count what, long amount = 1);
void note(const char* name);  // adds 1 to the count of `name`, whose address must stay valid
const char* interned(const std::string& name);  // a copy that is never freed
cudaError_t fail(cudaError_t error);          // remembers it for cudaGetLastError
cudaError_t wait(const char* call, cudaStream_t stream);  // counts a call that waits for work on `stream`
cudaError_t wait_for_device(const char* call);

// ---- capture.cpp
cudaError_t launch(cudaStream_t stream, const char* name);  // starts work, or adds it to the graph being captured
bool is_captured(cudaStream_t stream);
cudaError_t violate(const char* call);            // counts a violation and invalidates the capture
cudaError_t unsafe_in_capture(const char* call);  // a violation unless this thread's capture mode allows such calls

// ---- memory.cpp
enum class Memory { pageable, device, pinned };
Memory kind_of(const void* pointer);

// ---- runtime.cpp
int device_count();
int current_device();
std::string device_name(int device);
constexpr size_t MEMORY_BYTES = 40ul << 30;  // of each device

// The devices claim to be A100s, by the numbers that kernels are configured with.
constexpr int CAPABILITY_MAJOR = 8, CAPABILITY_MINOR = 0;
constexpr int MULTIPROCESSORS = 108;
constexpr int WARP_SIZE = 32;
constexpr int MAX_THREADS_PER_BLOCK = 1024, MAX_THREADS_PER_MULTIPROCESSOR = 2048;
constexpr int REGISTERS = 65536;
constexpr int SHARED_MEMORY = 49152, SHARED_MEMORY_OPT_IN = 166912, SHARED_MEMORY_PER_MULTIPROCESSOR = 167936;
constexpr int VERSION = CUDART_VERSION;

}  // namespace nullgpu
