// What all kernels share: plain C functions for ctypes (airbench/kernels/__init__.py calls them), split over OpenMP's
// threads. Sums are taken per thread and added up in order: one number of threads gives the same bits every time.

#pragma once

#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define SEVERAL_PROCESSORS
#include <immintrin.h>
#endif

#define ALWAYS_INLINE __attribute__((always_inline))
#define INLINE static inline ALWAYS_INLINE

using std::int32_t;
using std::int64_t;
using std::uint16_t;
using std::uint32_t;
using std::uint8_t;

struct bfloat16 {
    uint16_t bits;
};

template <int L>
struct Lanes {
    static constexpr int count = L;
};

// Kinds of processor, each able to do what those before it can.
enum Processor : int64_t { ANY, AVX2, AVX512, AVX512_BF16 };

// The kind whose loops are used: what this processor is, or less, for tests.
Processor processor_in_use();
