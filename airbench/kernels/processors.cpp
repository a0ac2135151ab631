// Which loops this machine's processor can run.

#include "common.h"

#ifdef SEVERAL_PROCESSORS
#include <cpuid.h>
#endif

namespace {

Processor own_processor() {
#ifdef SEVERAL_PROCESSORS
    if (__builtin_cpu_supports("x86-64-v4"))
        return __builtin_cpu_supports("avx512bf16") ? AVX512_BF16 : AVX512;
    if (__builtin_cpu_supports("x86-64-v3"))
        return AVX2;
#endif
    return ANY;
}

Processor in_use = own_processor();

} // namespace

Processor processor_in_use() { return in_use; }

extern "C" {

// Of the functions' names and arguments.
int64_t airbench_kernels_version() { return 3; }

// Use the loops for this kind of processor, or for this machine's where that is less able. Returns the kind.
int64_t airbench_use_processor(int64_t kind) {
    const Processor own = own_processor();
    return in_use = kind < own ? Processor(kind) : own;
}

// Whether bfloat16 matrices are multiplied by AMX's tiles, many times as fast as by vectors. PyTorch uses them.
int64_t airbench_has_amx() {
#ifdef SEVERAL_PROCESSORS
    const unsigned bf16 = 1u << 22, tile = 1u << 24, saved = 1u << 27, tiles_saved = 3u << 17;
    unsigned a, b, system, features;
    if (!__get_cpuid(1, &a, &b, &system, &features) || !(system & saved))
        return 0;
    unsigned state, upper;
    __asm__("xgetbv" : "=a"(state), "=d"(upper) : "c"(0)); // what the system saves of a process
    if ((state & tiles_saved) != tiles_saved || !__get_cpuid_count(7, 0, &a, &b, &system, &features))
        return 0;
    return (features & bf16) && (features & tile);
#else
    return 0;
#endif
}
}
