/* Part of a stand-in of TensorFlow Lite Micro's documented interface: see micro/micro_interpreter.h. */
#pragma once

#include <cstddef>
#include <cstdint>

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteNoType = 0, kTfLiteFloat32 = 1, kTfLiteInt8 = 9 };

union TfLitePtrUnion {
    float *f;
    int8_t *int8;
    char *raw;
};

struct TfLiteTensor {
    TfLiteType type;
    TfLitePtrUnion data;
    std::size_t bytes;
};
