// cuSOLVER's singular values and symmetric eigenvalues. PyTorch reads whether a method converged: zero, as everything
// on the device, says yes. What else the library does is refused (refused.cpp).
//
// The library's header is not included, for the reason given in cublas.cpp.
#include "library.h"

namespace {

constexpr int EXECUTION_FAILED = 6;
constexpr int WORKSPACE = 1 << 10;

int need(int* elements) {
  *elements = WORKSPACE;
  return SUCCESS;
}

int need(size_t* bytes_on_device, size_t* bytes_on_host) {
  *bytes_on_device = *bytes_on_host = WORKSPACE;
  return SUCCESS;
}

}  // namespace

LIBRARY(EXECUTION_FAILED, cusolverDnCreate, cusolverDnDestroy, cusolverDnSetStream)

#define DECOMPOSITIONS(type)                                                                                        \
  LAUNCHES(cusolverDn##type##gesvd)                                                                                 \
  LAUNCHES(cusolverDn##type##gesvdj)                                                                                \
  LAUNCHES(cusolverDn##type##gesvdjBatched)                                                                         \
  LAUNCHES(cusolverDn##type##gesvdaStridedBatched)                                                                  \
  API int cusolverDn##type##gesvd_bufferSize(Handle*, int, int, int* elements) { return need(elements); }           \
  API int cusolverDn##type##gesvdj_bufferSize(                                                                      \
      Handle*, int, int, int, int, void*, int, void*, void*, int, void*, int, int* elements, void*) {               \
    return need(elements);                                                                                          \
  }                                                                                                                 \
  API int cusolverDn##type##gesvdjBatched_bufferSize(                                                               \
      Handle*, int, int, int, void*, int, void*, void*, int, void*, int, int* elements, void*, int) {               \
    return need(elements);                                                                                          \
  }                                                                                                                 \
  API int cusolverDn##type##gesvdaStridedBatched_bufferSize(                                                        \
      Handle*, int, int, int, int, void*, int, long long, void*, long long, void*, int, long long, void*, int,      \
      long long, int* elements, int) {                                                                              \
    return need(elements);                                                                                          \
  }

DECOMPOSITIONS(S)
DECOMPOSITIONS(D)

LAUNCHES(cusolverDnXsyevd)
LAUNCHES(cusolverDnXsyevBatched)

API int cusolverDnXsyevd_bufferSize(
    Handle*, void*, int, int, long long, int, void*, long long, int, void*, int, size_t* on_device, size_t* on_host) {
  return need(on_device, on_host);
}

API int cusolverDnXsyevBatched_bufferSize(
    Handle*, void*, int, int, long long, int, void*, long long, int, void*, int, size_t* on_device, size_t* on_host,
    long long) {
  return need(on_device, on_host);
}

API int cusolverDnCreateGesvdjInfo(void** info) {
  *info = nullptr;
  return SUCCESS;
}

API int cusolverDnCreateParams(void** params) {
  *params = nullptr;
  return SUCCESS;
}

SUCCEEDS(int, cusolverDnDestroyGesvdjInfo, ...)
SUCCEEDS(int, cusolverDnDestroyParams, ...)
SUCCEEDS(int, cusolverDnXgesvdjSetTolerance, ...)
SUCCEEDS(int, cusolverDnXgesvdjSetMaxSweeps, ...)
SUCCEEDS(int, cusolverDnXgesvdjSetSortEig, ...)
