// cuDNN as PyTorch uses it with TORCH_CUDNN_V8_API_DISABLED=1: convolutions and batch normalisation, a launch each.
//
// The library's header is not included, for the reason given in cublas.cpp.
#include <cstddef>

#include "library.h"

namespace {

constexpr int EXECUTION_FAILED = 5000;

// cudnnConvolutionFwdAlgoPerf_t, and those of the two gradients, which have the same members
struct Performance {
  int algorithm;
  int status;
  float milliseconds;
  size_t workspace_bytes;
  int determinism;
  int math_type;
  int reserved[3];
};

// PyTorch says for each convolution whether its factors may be rounded, and checks that the answer keeps to it.
constexpr int DEFAULT_MATH = 0, TENSOR_OPS = 1, FMA_MATH = 3;
thread_local int allowed_math = DEFAULT_MATH;

int suggest(int* found, Performance* result) {
  *result = {};
  result->algorithm = 1;
  result->milliseconds = 1;
  result->math_type = allowed_math == FMA_MATH ? FMA_MATH : TENSOR_OPS;
  *found = 1;
  return SUCCESS;
}

// The library runs every algorithm and waits for it, which is what cudnn.benchmark asks for.
int search(Handle* handle, const char* name, int* found, Performance* result) {
  return nullgpu::wait(name, handle->stream) == cudaSuccess ? suggest(found, result) : EXECUTION_FAILED;
}

int need(size_t* bytes, size_t amount) {
  *bytes = amount;
  return SUCCESS;
}

constexpr size_t CONVOLUTION_WORKSPACE = 1 << 20, BATCH_NORM_WORKSPACE = 1 << 12;

}  // namespace

LIBRARY(EXECUTION_FAILED, cudnnCreate, cudnnDestroy, cudnnSetStream)

#define DESCRIPTOR(kind)                    \
  API int cudnnCreate##kind(char** made) {  \
    *made = new char;                       \
    return SUCCESS;                         \
  }                                         \
  API int cudnnDestroy##kind(char* made) {  \
    delete made;                            \
    return SUCCESS;                         \
  }

// Between handle and results: four descriptors and three tensors in some order, and how many results are wanted.
#define SEARCHES(name)                                                                                          \
  API int name(                                                                                                 \
      Handle* handle, void*, void*, void*, void*, void*, void*, void*, int, int* found, Performance* results,   \
      void*, size_t) {                                                                                          \
    return search(handle, #name, found, results);                                                               \
  }

#define SUGGESTS(name)                                                                              \
  API int name(Handle*, void*, void*, void*, void*, int, int* found, Performance* results) {        \
    return suggest(found, results);                                                                 \
  }

#define NEEDS_WORKSPACE(name)                                                             \
  API int name(Handle*, void*, void*, void*, void*, int, size_t* bytes) {                 \
    return need(bytes, CONVOLUTION_WORKSPACE);                                            \
  }

API int cudnnGetStream(Handle* handle, cudaStream_t* stream) {
  *stream = handle->stream;
  return SUCCESS;
}

DESCRIPTOR(TensorDescriptor)
DESCRIPTOR(FilterDescriptor)
DESCRIPTOR(ConvolutionDescriptor)
DESCRIPTOR(ActivationDescriptor)

SUCCEEDS(int, cudnnSetTensorNdDescriptor, ...)
SUCCEEDS(int, cudnnSetFilterNdDescriptor, ...)
SUCCEEDS(int, cudnnSetConvolutionNdDescriptor, ...)
SUCCEEDS(int, cudnnSetConvolutionGroupCount, ...)

API int cudnnSetConvolutionMathType(void*, int type) {
  allowed_math = type;
  return SUCCESS;
}

SEARCHES(cudnnFindConvolutionForwardAlgorithmEx)
SEARCHES(cudnnFindConvolutionBackwardDataAlgorithmEx)
SEARCHES(cudnnFindConvolutionBackwardFilterAlgorithmEx)
SUGGESTS(cudnnGetConvolutionForwardAlgorithm_v7)
SUGGESTS(cudnnGetConvolutionBackwardDataAlgorithm_v7)
SUGGESTS(cudnnGetConvolutionBackwardFilterAlgorithm_v7)
NEEDS_WORKSPACE(cudnnGetConvolutionForwardWorkspaceSize)
NEEDS_WORKSPACE(cudnnGetConvolutionBackwardDataWorkspaceSize)
NEEDS_WORKSPACE(cudnnGetConvolutionBackwardFilterWorkspaceSize)

LAUNCHES(cudnnConvolutionForward)
LAUNCHES(cudnnConvolutionBiasActivationForward)
LAUNCHES(cudnnConvolutionBackwardData)
LAUNCHES(cudnnConvolutionBackwardFilter)
LAUNCHES(cudnnBatchNormalizationForwardTrainingEx)
LAUNCHES(cudnnBatchNormalizationBackwardEx)
LAUNCHES(cudnnBatchNormalizationForwardInference)

API int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(
    Handle*, int, int, void*, void*, void*, void*, void*, size_t* bytes) {
  return need(bytes, BATCH_NORM_WORKSPACE);
}

API int cudnnGetBatchNormalizationBackwardExWorkspaceSize(
    Handle*, int, int, void*, void*, void*, void*, void*, void*, void*, size_t* bytes) {
  return need(bytes, BATCH_NORM_WORKSPACE);
}

API int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(Handle*, int, int, void*, void*, size_t* bytes) {
  return need(bytes, BATCH_NORM_WORKSPACE);
}
