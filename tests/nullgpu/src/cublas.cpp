// cuBLAS and cuBLASLt: each product is one launch on the handle's stream.
//
// The library's header is not included: it would demand full signatures, while a function that ignores its arguments
// need not name them under x86-64's calling convention. Opaque pointers are void*.
#include <cstddef>

#include "library.h"

namespace {

constexpr int EXECUTION_FAILED = 13;

// cublasLtMatmulHeuristicResult_t
struct Heuristic {
  unsigned long long algorithm[8];
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};

}  // namespace

LIBRARY(EXECUTION_FAILED, cublasCreate_v2, cublasDestroy_v2, cublasSetStream_v2)

API int cublasGetMathMode(Handle*, int* mode) {
  *mode = 0;  // the default
  return SUCCESS;
}

API int cublasGetPointerMode_v2(Handle*, int* mode) {
  *mode = 0;  // scalars are in the host's memory
  return SUCCESS;
}

SUCCEEDS(int, cublasSetMathMode, ...)
SUCCEEDS(int, cublasSetPointerMode_v2, ...)
SUCCEEDS(int, cublasSetSmCountTarget, ...)
SUCCEEDS(int, cublasSetWorkspace_v2, ...)

LAUNCHES(cublasSgemm_v2)
LAUNCHES(cublasDgemm_v2)
LAUNCHES(cublasSgemmEx)
LAUNCHES(cublasGemmEx)
LAUNCHES(cublasSgemmStridedBatched)
LAUNCHES(cublasDgemmStridedBatched)
LAUNCHES(cublasGemmStridedBatchedEx)
LAUNCHES(cublasSgemv_v2)
LAUNCHES(cublasDgemv_v2)
LAUNCHES(cublasSdot_v2)
LAUNCHES(cublasDdot_v2)
LAUNCHES(cublasDotEx)
LAUNCHES(cublasStrsm_v2)
LAUNCHES(cublasDtrsm_v2)
LAUNCHES(cublasStrsmBatched)
LAUNCHES(cublasDtrsmBatched)
LAUNCHES(cublasSgetrfBatched)
LAUNCHES(cublasDgetrfBatched)
LAUNCHES(cublasSgetrsBatched)
LAUNCHES(cublasDgetrsBatched)

API int cublasLtMatmul(
    void*, void*, const void*, const void*, void*, const void*, void*, const void*, const void*, void*, void*, void*,
    const void*, void*, size_t, cudaStream_t stream) {
  return start(stream, "cublasLtMatmul");
}

API int cublasLtMatmulAlgoGetHeuristic(
    void*, void*, void*, void*, void*, void*, void*, int, Heuristic* results, int* found) {
  results[0] = {};
  *found = 1;
  return SUCCESS;
}
