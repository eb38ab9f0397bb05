/* Part of a stand-in of TensorFlow Lite Micro's documented interface: see micro_interpreter.h. */
#pragma once

#include <cstdio>

#define MicroPrintf(...) (std::fprintf(stderr, __VA_ARGS__), std::fprintf(stderr, "\n"))
