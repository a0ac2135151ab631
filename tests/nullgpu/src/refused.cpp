// Functions that are not simulated return an error. Without them the real library would be called with handles of ours,
// and crash.

#define REFUSES(name, error) \
  extern "C" __attribute__((visibility("default"))) int name(...) { return error; }

constexpr int CUDA_NOT_SUPPORTED = 801;
constexpr int CUBLAS_NOT_SUPPORTED = 15;
constexpr int CUSOLVER_NOT_SUPPORTED = 9;
constexpr int CUDNN_NOT_SUPPORTED = 3000;
constexpr int CUFFT_NOT_SUPPORTED = 16;
constexpr int CUSPARSE_NOT_SUPPORTED = 10;

REFUSES(cuGetProcAddress, CUDA_NOT_SUPPORTED)
REFUSES(cuGetProcAddress_v2, CUDA_NOT_SUPPORTED)
REFUSES(cuGetExportTable, CUDA_NOT_SUPPORTED)
REFUSES(cuLaunchCooperativeKernel, CUDA_NOT_SUPPORTED)
REFUSES(cuLinkCreate_v2, CUDA_NOT_SUPPORTED)
REFUSES(cuLinkAddData_v2, CUDA_NOT_SUPPORTED)
REFUSES(cuLinkComplete, CUDA_NOT_SUPPORTED)
REFUSES(cuLinkDestroy, CUDA_NOT_SUPPORTED)
REFUSES(cuTensorMapEncodeTiled, CUDA_NOT_SUPPORTED)
REFUSES(cuTensorMapEncodeIm2col, CUDA_NOT_SUPPORTED)
REFUSES(cudnnBackendCreateDescriptor, CUDNN_NOT_SUPPORTED)
REFUSES(cudnnCreateCTCLossDescriptor, CUDNN_NOT_SUPPORTED)
REFUSES(cudnnCreateDropoutDescriptor, CUDNN_NOT_SUPPORTED)
REFUSES(cudnnCreatePoolingDescriptor, CUDNN_NOT_SUPPORTED)
REFUSES(cudnnCreateRNNDataDescriptor, CUDNN_NOT_SUPPORTED)
REFUSES(cudnnCreateRNNDescriptor, CUDNN_NOT_SUPPORTED)
REFUSES(cudnnCreateSpatialTransformerDescriptor, CUDNN_NOT_SUPPORTED)
REFUSES(cufftCreate, CUFFT_NOT_SUPPORTED)
REFUSES(cusparseCreate, CUSPARSE_NOT_SUPPORTED)

#define REFUSES_IN_BOTH_PRECISIONS(function)                      \
  REFUSES(cusolverDnS##function, CUSOLVER_NOT_SUPPORTED)          \
  REFUSES(cusolverDnD##function, CUSOLVER_NOT_SUPPORTED)

REFUSES(cublasSgeqrfBatched, CUBLAS_NOT_SUPPORTED)
REFUSES(cublasDgeqrfBatched, CUBLAS_NOT_SUPPORTED)
REFUSES(cublasSgelsBatched, CUBLAS_NOT_SUPPORTED)
REFUSES(cublasDgelsBatched, CUBLAS_NOT_SUPPORTED)
REFUSES_IN_BOTH_PRECISIONS(geqrf_bufferSize)
REFUSES_IN_BOTH_PRECISIONS(getrf_bufferSize)
REFUSES_IN_BOTH_PRECISIONS(getrs)
REFUSES_IN_BOTH_PRECISIONS(orgqr_bufferSize)
REFUSES_IN_BOTH_PRECISIONS(ormqr_bufferSize)
REFUSES_IN_BOTH_PRECISIONS(potrf_bufferSize)
REFUSES_IN_BOTH_PRECISIONS(potrfBatched)
REFUSES_IN_BOTH_PRECISIONS(potrs)
REFUSES_IN_BOTH_PRECISIONS(syevd_bufferSize)
REFUSES_IN_BOTH_PRECISIONS(syevjBatched_bufferSize)
REFUSES_IN_BOTH_PRECISIONS(sytrf_bufferSize)
REFUSES(cusolverDnXgeev_bufferSize, CUSOLVER_NOT_SUPPORTED)
REFUSES(cusolverDnXgeqrf_bufferSize, CUSOLVER_NOT_SUPPORTED)
REFUSES(cusolverDnXpotrf_bufferSize, CUSOLVER_NOT_SUPPORTED)
REFUSES(cusolverDnXpotrs, CUSOLVER_NOT_SUPPORTED)
REFUSES(cusolverDnXsytrs_bufferSize, CUSOLVER_NOT_SUPPORTED)
