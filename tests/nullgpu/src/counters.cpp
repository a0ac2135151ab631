// Counts, and the interface through which a test reads them.
#include <cxxabi.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>

#include "nullgpu.h"

namespace nullgpu {
namespace {

constexpr int KINDS = sizeof(Counters) / sizeof(long);
std::atomic<long> totals[KINDS];

// Never destroyed: PyTorch's threads may still count while the process exits.
std::mutex& lock = *new std::mutex;
std::unordered_map<const char*, long>& by_name = *new std::unordered_map<const char*, long>;
std::set<std::string>& names = *new std::set<std::string>;

using Listener = void (*)(const char* call);
std::atomic<Listener> on_sync{nullptr};

thread_local cudaError_t last_error = cudaSuccess;

std::string demangled(const char* name) {
  int status;
  char* readable = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = readable ? readable : name;
  std::free(readable);
  return result;
}

void count_wait(const char* call) {
  add(Count::syncs);
  note(call);
  if (Listener listener = on_sync) listener(call);
}

}  // namespace

void add(Count what, long amount) { totals[static_cast<int>(what)] += amount; }

void note(const char* name) {
  std::lock_guard<std::mutex> guard(lock);
  ++by_name[name];
}

const char* interned(const std::string& name) {
  std::lock_guard<std::mutex> guard(lock);
  return names.insert(name).first->c_str();
}

cudaError_t fail(cudaError_t error) { return last_error = error; }

cudaError_t wait(const char* call, cudaStream_t stream) {
  count_wait(call);
  return is_captured(stream) ? violate(call) : unsafe_in_capture(call);
}

cudaError_t wait_for_device(const char* call) {
  count_wait(call);
  return unsafe_in_capture(call);
}

}  // namespace nullgpu

using namespace nullgpu;

API cudaError_t cudaGetLastError() {
  cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

API cudaError_t cudaPeekAtLastError() { return last_error; }

API void nullgpu_read(Counters* counters) {
  for (int kind = 0; kind < KINDS; ++kind) reinterpret_cast<long*>(counters)[kind] = totals[kind];
}

API void nullgpu_reset() {
  std::lock_guard<std::mutex> guard(lock);
  by_name.clear();
  for (auto& total : totals) total = 0;
}

// A line "count<tab>name" for each name. Valid until the next call.
API const char* nullgpu_names() {
  static std::string text;
  std::lock_guard<std::mutex> guard(lock);
  std::map<std::string, long> sorted;
  for (const auto& [name, count] : by_name) sorted[demangled(name)] += count;
  text.clear();
  for (const auto& [name, count] : sorted) text += std::to_string(count) + "\t" + name + "\n";
  return text.c_str();
}

// Calls `listener` on the calling thread for each call that waits for the device; null stops that.
API void nullgpu_on_sync(Listener listener) { on_sync = listener; }
