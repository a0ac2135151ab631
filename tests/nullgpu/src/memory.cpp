// Memory. Device memory is reserved address space without access: the host that reads it gets a segmentation fault, as
// with a real GPU. A copy from the device writes zeros.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>

#include "nullgpu.h"

namespace nullgpu {
namespace {

struct Block {
  size_t size;
  Memory kind;
  int device;
  bool ours;  // false if the program allocated it and then registered it
};

constexpr size_t PAGE = 4096;

std::mutex& lock = *new std::mutex;
std::map<const char*, Block>& blocks = *new std::map<const char*, Block>;
std::array<size_t, 64> used;  // bytes on each device

const Block* find(const void* pointer) {
  auto after = blocks.upper_bound(static_cast<const char*>(pointer));
  if (after == blocks.begin()) return nullptr;
  const auto& [start, block] = *std::prev(after);
  return static_cast<const char*>(pointer) < start + block.size ? &block : nullptr;
}

cudaError_t take(void** pointer, size_t bytes, Memory kind) {
  *pointer = nullptr;
  if (!bytes) return cudaSuccess;
  const size_t size = (bytes + PAGE - 1) / PAGE * PAGE;
  const int device = current_device();
  std::lock_guard<std::mutex> guard(lock);
  if (kind == Memory::device && used[device] + size > MEMORY_BYTES) return fail(cudaErrorMemoryAllocation);
  const int access = kind == Memory::device ? PROT_NONE : PROT_READ | PROT_WRITE;
  void* start = mmap(nullptr, size, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return fail(cudaErrorMemoryAllocation);
  if (kind == Memory::device) used[device] += size;
  blocks[static_cast<char*>(start)] = {size, kind, device, true};
  *pointer = start;
  return cudaSuccess;
}

cudaError_t give_back(void* pointer) {
  if (!pointer) return cudaSuccess;
  std::lock_guard<std::mutex> guard(lock);
  auto found = blocks.find(static_cast<char*>(pointer));
  if (found == blocks.end()) return fail(cudaErrorInvalidValue);
  const Block block = found->second;
  blocks.erase(found);
  if (block.kind == Memory::device) used[block.device] -= block.size;
  if (block.ours) munmap(pointer, block.size);
  return cudaSuccess;
}

const char* copy_name(Memory from, Memory to) {
  if (from == Memory::device && to == Memory::device) return "copy, device to device";
  if (from == Memory::device) return to == Memory::pinned ? "copy, device to pinned" : "copy, device to pageable";
  if (to == Memory::device) return from == Memory::pinned ? "copy, pinned to device" : "copy, pageable to device";
  return "copy, host to host";
}

// Copies `rows` of `width` bytes each, `to_pitch` and `from_pitch` bytes apart.
cudaError_t copy(
    void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t rows, cudaStream_t stream) {
  const Memory source = kind_of(from), target = kind_of(to);
  const bool across = (source == Memory::device) != (target == Memory::device);
  if (across && (source == Memory::pageable || target == Memory::pageable)) {
    add(Count::pageable_copies);
    if (is_captured(stream)) return violate(copy_name(source, target));
  }
  const cudaError_t error = launch(stream, copy_name(source, target));
  if (error != cudaSuccess || target == Memory::device || is_captured(stream)) return error;
  for (size_t row = 0; row < rows; ++row) {
    char* into = static_cast<char*>(to) + row * to_pitch;
    if (source == Memory::device) std::memset(into, 0, width);
    else std::memcpy(into, static_cast<const char*>(from) + row * from_pitch, width);
  }
  return cudaSuccess;
}

}  // namespace

Memory kind_of(const void* pointer) {
  std::lock_guard<std::mutex> guard(lock);
  const Block* block = find(pointer);
  return block ? block->kind : Memory::pageable;
}

}  // namespace nullgpu

using namespace nullgpu;

API cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  add(Count::mallocs);
  note("cudaMalloc");
  const cudaError_t error = unsafe_in_capture("cudaMalloc");
  return error == cudaSuccess ? take(pointer, bytes, Memory::device) : error;
}

API cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;  // only initialises the device
  const cudaError_t error = wait_for_device("cudaFree");
  return error == cudaSuccess ? give_back(pointer) : error;
}

API cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  add(Count::host_allocs);
  note("cudaHostAlloc");
  const cudaError_t error = unsafe_in_capture("cudaHostAlloc");
  return error == cudaSuccess ? take(pointer, bytes, Memory::pinned) : error;
}

API cudaError_t cudaFreeHost(void* pointer) {
  const cudaError_t error = wait_for_device("cudaFreeHost");
  return error == cudaSuccess ? give_back(pointer) : error;
}

API cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned) {
  add(Count::host_allocs);
  note("cudaHostRegister");
  std::lock_guard<std::mutex> guard(lock);
  blocks[static_cast<char*>(pointer)] = {bytes, Memory::pinned, current_device(), false};
  return cudaSuccess;
}

API cudaError_t cudaHostUnregister(void* pointer) { return give_back(pointer); }

API cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  std::lock_guard<std::mutex> guard(lock);
  *total = MEMORY_BYTES;
  *free = MEMORY_BYTES - used[current_device()];
  return cudaSuccess;
}

API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  *attributes = {};
  std::lock_guard<std::mutex> guard(lock);
  const Block* block = find(pointer);
  attributes->type = !block ? cudaMemoryTypeUnregistered
                     : block->kind == Memory::device ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
  if (!block) return cudaSuccess;
  attributes->device = block->device;
  attributes->devicePointer = const_cast<void*>(pointer);
  if (block->kind == Memory::pinned) attributes->hostPointer = const_cast<void*>(pointer);
  return cudaSuccess;
}

API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return copy(to, 0, from, 0, bytes, 1, stream);
}

API cudaError_t cudaMemcpy2DAsync(
    void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height, cudaMemcpyKind,
    cudaStream_t stream) {
  return copy(to, to_pitch, from, from_pitch, width, height, stream);
}

API cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  const cudaError_t error = copy(to, 0, from, 0, bytes, 1, nullptr);
  return error == cudaSuccess ? wait("cudaMemcpy", nullptr) : error;
}

API cudaError_t cudaMemcpyPeerAsync(void*, int, const void*, int, size_t, cudaStream_t stream) {
  return launch(stream, "copy, device to device");
}

API cudaError_t cudaMemsetAsync(void*, int, size_t, cudaStream_t stream) { return launch(stream, "fill"); }
API cudaError_t cudaMemset(void*, int, size_t) { return launch(nullptr, "fill"); }
