// What cuBLAS, cuDNN and cuSOLVER have in common: a handle that names a stream, and functions that are a launch on it.
#pragma once

#include "nullgpu.h"

namespace {

struct Handle {
  cudaStream_t stream;
};

constexpr int SUCCESS = 0;

}  // namespace

// Defines the functions that make and use a library's handles. `start` returns `failed` if a launch fails.
#define LIBRARY(failed, create, destroy, set_stream)                          \
  namespace {                                                                 \
  int start(cudaStream_t stream, const char* name) {                          \
    return nullgpu::launch(stream, name) == cudaSuccess ? SUCCESS : (failed); \
  }                                                                           \
  }                                                                           \
  API int create(Handle** handle) {                                           \
    nullgpu::note(#create);                                                   \
    *handle = new Handle{};                                                   \
    return SUCCESS;                                                           \
  }                                                                           \
  API int destroy(Handle* handle) {                                           \
    delete handle;                                                            \
    return SUCCESS;                                                           \
  }                                                                           \
  API int set_stream(Handle* handle, cudaStream_t stream) {                   \
    handle->stream = stream;                                                  \
    return SUCCESS;                                                           \
  }

#define LAUNCHES(name) \
  API int name(Handle* handle, ...) { return start(handle->stream, #name); }
