// Streams, events, and the capture of graphs, with the rules of a capture.
//
// Not simulated: several captures at a time, and the rule that every stream that joined a capture must be joined back.
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "nullgpu.h"

namespace nullgpu {
namespace {

struct Graph {
  long kernels = 0;
};

struct Event {
  double milliseconds = 0;  // when the host recorded it
  unsigned long long capture = 0;  // the capture in which it was recorded, or 0
};

struct Capture {
  unsigned long long id = 0;
  cudaStream_t origin = nullptr;
  std::set<cudaStream_t> streams;  // the origin, and those that waited for its events
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  Graph* graph = nullptr;
  bool invalid = false;
};

std::mutex& lock = *new std::mutex;
Capture& capture = *new Capture;
std::atomic<bool> capturing{false};
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

Event* event_of(cudaEvent_t event) { return reinterpret_cast<Event*>(event); }
Graph* graph_of(cudaGraph_t graph) { return reinterpret_cast<Graph*>(graph); }
Graph* graph_of(cudaGraphExec_t graph) { return reinterpret_cast<Graph*>(graph); }

double now() {
  static const auto start = std::chrono::steady_clock::now();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

cudaStreamCaptureStatus status_of(cudaStream_t stream) {
  if (!is_captured(stream)) return cudaStreamCaptureStatusNone;
  return capture.invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
}

// "Potentially unsafe" calls, by the documentation of cudaThreadExchangeStreamCaptureMode.
bool unsafe_calls_forbidden() {
  if (!capturing || thread_mode == cudaStreamCaptureModeRelaxed) return false;
  std::lock_guard<std::mutex> guard(lock);
  if (capture.thread == std::this_thread::get_id()) return capture.mode != cudaStreamCaptureModeRelaxed;
  return capture.mode == cudaStreamCaptureModeGlobal && thread_mode == cudaStreamCaptureModeGlobal;
}

cudaError_t instantiate(cudaGraphExec_t* executable, cudaGraph_t graph) {
  note("graph instantiated");
  *executable = reinterpret_cast<cudaGraphExec_t>(new Graph(*graph_of(graph)));
  return cudaSuccess;
}

}  // namespace

bool is_captured(cudaStream_t stream) {
  if (!capturing) return false;
  std::lock_guard<std::mutex> guard(lock);
  return capture.streams.count(stream);
}

cudaError_t launch(cudaStream_t stream, const char* name) {
  note(name);
  if (is_captured(stream)) {
    std::lock_guard<std::mutex> guard(lock);
    ++capture.graph->kernels;
    return capture.invalid ? fail(cudaErrorStreamCaptureInvalidated) : cudaSuccess;
  }
  add(Count::launches);
  add(Count::kernels);
  return cudaSuccess;
}

cudaError_t violate(const char* call) {
  add(Count::violations);
  note(interned(std::string("violation of a capture: ") + call));
  std::lock_guard<std::mutex> guard(lock);
  capture.invalid = true;
  return fail(cudaErrorStreamCaptureUnsupported);
}

cudaError_t unsafe_in_capture(const char* call) { return unsafe_calls_forbidden() ? violate(call) : cudaSuccess; }

}  // namespace nullgpu

using namespace nullgpu;

// ---- streams

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = reinterpret_cast<cudaStream_t>(new char);
  return cudaSuccess;
}

API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}

API cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithPriority(stream, 0, 0); }

API cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete reinterpret_cast<char*>(stream);
  return cudaSuccess;
}

API cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) {
  *priority = 0;
  return cudaSuccess;
}

API cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return is_captured(stream) ? violate("cudaStreamQuery") : unsafe_in_capture("cudaStreamQuery");
}

API cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return wait("cudaStreamSynchronize", stream); }

API cudaError_t cudaDeviceSynchronize() {
  const cudaError_t error = wait_for_device("cudaDeviceSynchronize");
  return error == cudaSuccess && capturing ? violate("cudaDeviceSynchronize") : error;
}

API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  note("cudaStreamWaitEvent");
  std::lock_guard<std::mutex> guard(lock);
  if (capturing && event_of(event)->capture == capture.id) capture.streams.insert(stream);
  return cudaSuccess;
}

API cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  if (!is_captured(stream)) function(data);
  return cudaSuccess;
}

API cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t function, void* data, unsigned) {
  if (is_captured(stream)) return violate("cudaStreamAddCallback");
  function(stream, cudaSuccess, data);
  return cudaSuccess;
}

// ---- events

API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(new Event);
  return cudaSuccess;
}

API cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }

API cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event_of(event);
  return cudaSuccess;
}

API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  note("cudaEventRecord");
  const bool captured = is_captured(stream);
  std::lock_guard<std::mutex> guard(lock);
  *event_of(event) = {now(), captured ? capture.id : 0};
  return cudaSuccess;
}

API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}

API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  *milliseconds = static_cast<float>(event_of(end)->milliseconds - event_of(start)->milliseconds);
  return cudaSuccess;
}

static bool recorded_in_capture(cudaEvent_t event) {
  std::lock_guard<std::mutex> guard(lock);
  return capturing && event_of(event)->capture == capture.id;
}

API cudaError_t cudaEventQuery(cudaEvent_t event) {
  return recorded_in_capture(event) ? violate("cudaEventQuery") : unsafe_in_capture("cudaEventQuery");
}

API cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const cudaError_t error = wait_for_device("cudaEventSynchronize");
  return error == cudaSuccess && recorded_in_capture(event) ? violate("cudaEventSynchronize") : error;
}

// ---- capture

API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}

API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  add(Count::captures);
  note("cudaStreamBeginCapture");
  if (capturing || !stream) return violate("cudaStreamBeginCapture");
  std::lock_guard<std::mutex> guard(lock);
  capture = {capture.id + 1, stream, {stream}, mode, std::this_thread::get_id(), new Graph, false};
  capturing = true;
  return cudaSuccess;
}

API cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  std::lock_guard<std::mutex> guard(lock);
  *graph = nullptr;
  if (!capturing || stream != capture.origin) return fail(cudaErrorIllegalState);
  capturing = false;
  if (capture.invalid) return fail(cudaErrorStreamCaptureInvalidated);
  *graph = reinterpret_cast<cudaGraph_t>(capture.graph);
  return cudaSuccess;
}

API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = status_of(stream);
  return cudaSuccess;
}

API cudaError_t cudaStreamGetCaptureInfo(
    cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id, cudaGraph_t* graph,
    const cudaGraphNode_t** nodes, const cudaGraphEdgeData** edges, size_t* count) {
  *status = status_of(stream);
  if (id) *id = capture.id;
  if (graph) *graph = reinterpret_cast<cudaGraph_t>(capture.graph);
  if (nodes) *nodes = nullptr;
  if (edges) *edges = nullptr;
  if (count) *count = 0;
  return cudaSuccess;
}

SUCCEEDS(cudaError_t, cudaStreamUpdateCaptureDependencies, cudaStream_t, cudaGraphNode_t*, const cudaGraphEdgeData*,
         size_t, unsigned)

// ---- graphs

API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return instantiate(executable, graph);
}

API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return instantiate(executable, graph);
}

API cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  const long kernels = graph_of(executable)->kernels;
  add(Count::launches);
  add(Count::graph_launches);
  add(Count::kernels, kernels);
  note(interned("graph of " + std::to_string(kernels) + " kernels"));
  return cudaSuccess;
}

API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  *count = static_cast<size_t>(graph_of(graph)->kernels);
  return cudaSuccess;
}

API cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph_of(graph);
  return cudaSuccess;
}

API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete graph_of(executable);
  return cudaSuccess;
}

API cudaError_t cudaUserObjectCreate(cudaUserObject_t* object, void*, cudaHostFn_t, unsigned, unsigned) {
  *object = nullptr;
  return cudaSuccess;
}

SUCCEEDS(cudaError_t, cudaGraphRetainUserObject, cudaGraph_t, cudaUserObject_t, unsigned, unsigned)
SUCCEEDS(cudaError_t, cudaUserObjectRelease, cudaUserObject_t, unsigned)
