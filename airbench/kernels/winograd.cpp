// 3×3 convolutions of channels-last images by Winograd's method (toom_cook.h): output, and gradient of the weights.
//
// The image is cut into tiles of M×M output pixels. Of a tile and of the filters the values at the points are taken,
// multiplied as matrices, one product for each point, and turned into pixels; some tiles at a time, so that what is in
// between never leaves the cache. The gradient of the input is the same with the filters turned around.

#include "common.h"
#include "toom_cook.h"

#include <cstring>

namespace {

#define LOOPS "winograd.inc"
#include "every_processor.inc"

int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

template <class W>
typename W::Grid grid_of(int64_t height, int64_t width) {
    constexpr int M = W::TILE;
    return {height, width, (height + M - 1) / M, (width + M - 1) / M};
}

// Of the scratch memory, the first bytes are zeros: pixels beyond the border.
template <class W>
int64_t zero_bytes(int64_t in, int64_t out) {
    return aligned((in > out ? in : out) * sizeof(typename W::Pixel));
}

template <class W>
struct Convolution {
    typedef typename W::Pixel T;
    static int64_t bytes(int64_t in, int64_t out, int64_t threads) {
        return zero_bytes<W>(in, out) + aligned(W::filter_bytes(in, out)) + threads * aligned(W::thread_bytes(in));
    }
    static void run(const T *x, const float *filters, T *y, int64_t images, int64_t height, int64_t width, int64_t in,
                    int64_t out, char *scratch, int64_t threads) {
        const typename W::Grid grid = grid_of<W>(height, width);
        const int64_t tiles = images * grid.rows * grid.columns, some = W::tiles_at_a_time(in);
        const int64_t panels = W::columns_of(out) / W::PANEL, blocks = (tiles + some - 1) / some;
        const T *zeros = (const T *)scratch;
        std::memset(scratch, 0, zero_bytes<W>(in, out));
        T *u = (T *)(scratch + zero_bytes<W>(in, out));
        char *own = (char *)u + aligned(W::filter_bytes(in, out));
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t panel = 0; panel < panels; panel++)
            W::filters_to_points(filters, u, in, out, panel);
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t t = 0; t < threads; t++)
            for (int64_t block = blocks * t / threads; block < blocks * (t + 1) / threads; block++) {
                const int64_t first = block * some, last = first + some < tiles ? first + some : tiles;
                W::convolve(x, u, y, first, last, grid, in, out, zeros, own + t * aligned(W::thread_bytes(in)));
            }
    }
};

template <class W>
struct Gradient {
    typedef typename W::Pixel T;
    static int64_t bytes(int64_t in, int64_t out, int64_t threads) {
        return zero_bytes<W>(in, out) + threads * aligned(W::gradient_thread_bytes(in, out));
    }
    static void run(const T *x, const T *dy, float *dw, int64_t images, int64_t height, int64_t width, int64_t in,
                    int64_t out, char *scratch, int64_t threads) {
        const typename W::Grid grid = grid_of<W>(height, width);
        const int64_t tiles = images * grid.rows * grid.columns;
        const T *zeros = (const T *)scratch;
        std::memset(scratch, 0, zero_bytes<W>(in, out));
        char *own = scratch + zero_bytes<W>(in, out);
        const int64_t stride = aligned(W::gradient_thread_bytes(in, out));
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t t = 0; t < threads; t++)
            W::sum_gradients(x, dy, tiles * t / threads, tiles * (t + 1) / threads, grid, in, out, zeros,
                             own + t * stride);
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t k = 0; k < in; k++)
            W::put_gradient((const float *)own, threads, stride / sizeof(float), dw, in, out, k);
    }
};

// Calls work(W()) for the loops of this machine's processor, if it has any; W() stands for its type.
template <int M, class Work>
void for_tile(bool half, Work work) {
#ifdef SEVERAL_PROCESSORS
    const Processor processor = processor_in_use();
    if (half && processor == AVX512_BF16)
        work(avx512_bf16::Winograd<M, bfloat16>());
    else if (!half && processor >= AVX512)
        work(avx512::Winograd<M, float>());
    else if (!half && processor == AVX2)
        work(avx2::Winograd<M, float>());
#endif
}

template <class Work>
void for_this_machine(bool half, int64_t tile, Work work) {
    switch (tile) {
    case 2:
        return for_tile<2>(half, work);
    case 3:
        return for_tile<3>(half, work);
    case 4:
        return for_tile<4>(half, work);
    }
}

} // namespace

extern "C" {

// Bytes of scratch memory that airbench_winograd takes, or airbench_winograd_gradient with `gradient`; 0 where this
// processor, or this tile, has no loops.
int64_t airbench_winograd_bytes(int64_t half, int64_t tile, int64_t gradient, int64_t in, int64_t out, int64_t threads) {
    int64_t bytes = 0;
    for_this_machine(half, tile, [&](auto winograd) {
        typedef decltype(winograd) W;
        bytes = gradient ? Gradient<W>::bytes(in, out, threads) : Convolution<W>::bytes(in, out, threads);
    });
    return bytes;
}

// y (images, height, width, out) of x (images, height, width, in) and filters (3, 3, in, out), padded by 1.
void airbench_winograd(int64_t half, int64_t tile, const void *x, const float *filters, void *y, int64_t images,
                       int64_t height, int64_t width, int64_t in, int64_t out, char *scratch, int64_t threads) {
    for_this_machine(half, tile, [&](auto winograd) {
        typedef decltype(winograd) W;
        typedef typename W::Pixel T;
        Convolution<W>::run((const T *)x, filters, (T *)y, images, height, width, in, out, scratch, threads);
    });
}

// dw (3, 3, in, out), the gradient of the filters, for that of y.
void airbench_winograd_gradient(int64_t half, int64_t tile, const void *x, const void *dy, float *dw, int64_t images,
                                int64_t height, int64_t width, int64_t in, int64_t out, char *scratch,
                                int64_t threads) {
    for_this_machine(half, tile, [&](auto winograd) {
        typedef decltype(winograd) W;
        typedef typename W::Pixel T;
        Gradient<W>::run((const T *)x, (const T *)dy, dw, images, height, width, in, out, scratch, threads);
    });
}
}
