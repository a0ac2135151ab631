// Max-pool, batch norm and activation of channels-last images in as few passes over memory as there can be.

#include "common.h"

#include <cstring>
#include <vector>

namespace {

struct Shape {
    int64_t height, width, channels;
};

// Some of the images.
struct Slice {
    int64_t first, last;
};

// What normalises a channel: (x - mean) · scale + bias.
struct Affine {
    const float *mean, *scale, *bias;
};

// The loops over images of T for one kind of processor, by activation where they have one.
template <class T>
struct Loops {
    void (*moments)(const T *, T *, uint8_t *, Slice, Shape, const float *, float *, double *);
    void (*apply[4])(const T *, T *, bool, Slice, Shape, Affine);
    void (*gradient_sums[4])(const T *, const T *, Slice, int64_t, int64_t, Affine, float *, double *);
    void (*input_gradient[4])(const T *, const T *, const uint8_t *, T *, Slice, Shape, Affine, const float *,
                              const float *);
};

#define LOOPS "fused.inc"
#include "every_processor.inc"

// Only those that the processor can run may so much as be asked for.
template <class T>
Loops<T> loops() {
#ifdef SEVERAL_PROCESSORS
    switch (processor_in_use()) {
    case AVX512_BF16:
        return avx512_bf16::loops_of<T>();
    case AVX512:
        return avx512::loops_of<T>();
    case AVX2:
        return avx2::loops_of<T>();
    case ANY:
        break;
    }
#endif
    return any_processor::loops_of<T>();
}

// Runs work(slice, thread) on a slice of the images in each of `threads` threads.
template <class Work>
void over_images(int64_t images, int64_t threads, Work work) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t t = 0; t < threads; t++)
        work(Slice{images * t / threads, images * (t + 1) / threads}, t);
}

// The same for work that adds up 2 · channels sums: work(slice, scratch, sums), with scratch as long and all zeros.
template <class Work>
std::vector<double> summed_over_images(int64_t images, int64_t channels, int64_t threads, Work work) {
    const int64_t length = 2 * channels;
    std::vector<std::vector<double>> parts(threads);
    over_images(images, threads, [&](Slice slice, int64_t t) {
        std::vector<float> scratch(length);
        parts[t].resize(length);
        work(slice, scratch.data(), parts[t].data());
    });
    std::vector<double> sums(length);
    for (const std::vector<double> &part : parts)
        for (int64_t k = 0; k < length; k++)
            sums[k] += part[k];
    return sums;
}

template <class T>
void moments(const T *x, T *pooled, uint8_t *which, int64_t images, Shape s, float *mean, float *variance,
             int64_t threads) {
    const int64_t C = s.channels;
    // Sums are taken of differences from some value of the channel: the variance of a constant one is 0 exactly.
    std::vector<float> shift(C);
    for (int64_t k = 0; k < C; k++)
        shift[k] = any_processor::load<1>(x + k)[0];
    const std::vector<double> sums =
        summed_over_images(images, C, threads, [&](Slice slice, float *scratch, double *own) {
            loops<T>().moments(x, pooled, which, slice, s, shift.data(), scratch, own);
        });
    const double count = double(images) * double(pooled ? (s.height / 2) * (s.width / 2) : s.height * s.width);
    for (int64_t k = 0; k < C; k++) {
        const double offset = sums[k] / count, spread = sums[C + k] / count - offset * offset;
        mean[k] = float(shift[k] + offset);
        variance[k] = spread < 0 ? 0.0f : float(spread); // rounding may go below 0; NaN stays
    }
}

} // namespace

extern "C" {

// Mean and biased variance by channel of x, or of the pooled x, which then is left in `pooled`, and in `which` the
// place (0 to 3) that each of its pixels came from. `pooled` and `which` are null for no pooling.
void airbench_moments(int64_t half, const void *x, void *pooled, uint8_t *which, int64_t images, int64_t height,
                      int64_t width, int64_t channels, float *mean, float *variance, int64_t threads) {
    const Shape s{height, width, channels};
    if (half)
        moments((const bfloat16 *)x, (bfloat16 *)pooled, which, images, s, mean, variance, threads);
    else
        moments((const float *)x, (float *)pooled, which, images, s, mean, variance, threads);
}

// y = activation((x - mean) · scale + bias), of the pooled x with `pool`.
void airbench_apply(int64_t half, int64_t activation, int64_t pool, const void *x, void *y, int64_t images,
                    int64_t height, int64_t width, int64_t channels, const float *mean, const float *scale,
                    const float *bias, int64_t threads) {
    const Shape s{height, width, channels};
    const Affine f{mean, scale, bias};
    over_images(images, threads, [&](Slice slice, int64_t) {
        if (half)
            loops<bfloat16>().apply[activation]((const bfloat16 *)x, (bfloat16 *)y, pool != 0, slice, s, f);
        else
            loops<float>().apply[activation]((const float *)x, (float *)y, pool != 0, slice, s, f);
    });
}

// Sums of dz = dy · activation'(z) and of dz · (x - mean), by channel, for x of `pixels` pixels an image.
void airbench_gradient_sums(int64_t half, int64_t activation, const void *x, const void *dy, int64_t images,
                            int64_t pixels, int64_t channels, const float *mean, const float *scale,
                            const float *bias, double *sums, int64_t threads) {
    const Affine f{mean, scale, bias};
    const std::vector<double> total =
        summed_over_images(images, channels, threads, [&](Slice slice, float *scratch, double *own) {
            if (half)
                loops<bfloat16>().gradient_sums[activation]((const bfloat16 *)x, (const bfloat16 *)dy, slice, pixels,
                                                            channels, f, scratch, own);
            else
                loops<float>().gradient_sums[activation]((const float *)x, (const float *)dy, slice, pixels, channels,
                                                         f, scratch, own);
        });
    std::memcpy(sums, total.data(), total.size() * sizeof(double));
}

// dx = scale · (dz - c0 - c1 · (x - mean)). `height` and `width` are those of dx; x and dy are half as large where
// `which` is not null.
void airbench_input_gradient(int64_t half, int64_t activation, const void *x, const void *dy, const uint8_t *which,
                             void *dx, int64_t images, int64_t height, int64_t width, int64_t channels,
                             const float *mean, const float *scale, const float *bias, const float *c0,
                             const float *c1, int64_t threads) {
    const Shape s{height, width, channels};
    const Affine f{mean, scale, bias};
    over_images(images, threads, [&](Slice slice, int64_t) {
        if (half)
            loops<bfloat16>().input_gradient[activation]((const bfloat16 *)x, (const bfloat16 *)dy, which,
                                                         (bfloat16 *)dx, slice, s, f, c0, c1);
        else
            loops<float>().input_gradient[activation]((const float *)x, (const float *)dy, which, (float *)dx, slice,
                                                      s, f, c0, c1);
    });
}
}
