/**
 * @file oracle.h
 * @brief What all stand-ins of runtimes share: answers that a test has written, and a log of calls.
 *
 * The folder of the environment variable ORACLE holds inputs (input0.bin ...), as the runtime gets
 * them, and to each the outputs (output0-0.bin ...) as float32. An input that is none of them ends
 * the program.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "model.h"

namespace oracle {

inline std::string path(const std::string &name)
{
    const char *folder = std::getenv("ORACLE");
    return std::string(folder == nullptr ? "." : folder) + "/" + name;
}

/** Write a call down. */
__attribute__((format(printf, 1, 2))) inline void log(const char *pattern, ...)
{
    std::FILE *file = std::fopen(path("calls.txt").c_str(), "a");
    va_list arguments;
    va_start(arguments, pattern);
    std::vfprintf(file, pattern, arguments);
    va_end(arguments);
    std::fputc('\n', file);
    std::fclose(file);
}

/** End the program where a caller did what the runtime forbids. */
inline void demand(bool holds, const char *what)
{
    if (!holds) {
        std::fprintf(stderr, "stand-in: %s\n", what);
        std::exit(99);
    }
}

template <typename T> std::vector<T> read(const std::string &name)
{
    std::vector<T> values;
    if (std::FILE *file = std::fopen(path(name).c_str(), "rb")) {
        T block[4096];
        for (size_t n; (n = std::fread(block, sizeof(T), 4096, file)) > 0;) {
            values.insert(values.end(), block, block + n);
        }
        std::fclose(file);
    }
    return values;
}

/** How far two inputs are apart at most. */
template <typename T> double distance(const std::vector<T> &wanted, const T *found)
{
    double most = 0;
    for (size_t i = 0; i < wanted.size(); i++) {
        most = std::fmax(most, std::fabs(static_cast<double>(wanted[i]) - static_cast<double>(found[i])));
    }
    return most;
}

/** The number of the input that was fed: that of the least distance, of a pixel's level at most. */
template <typename T> int number_of(const T *fed)
{
    constexpr size_t count = static_cast<size_t>(model::channels) * model::height * model::width;
    double level = sizeof(T) == 1 ? 1.0 : 1.01 / std::fabs(static_cast<double>(model::deviation[0]));
    int best = -1;
    for (int i = 0;; i++) {
        const std::vector<T> wanted = read<T>("input" + std::to_string(i) + ".bin");
        if (wanted.empty()) {
            break;
        }
        demand(wanted.size() == count, "an input of another size");
        const double apart = distance(wanted, fed);
        if (apart <= level) {
            level = apart;
            best = i;
        }
    }
    demand(best >= 0, "an input that is none of those known");
    return best;
}

inline std::vector<float> answer(int number, size_t output)
{
    return read<float>("output" + std::to_string(number) + "-" + std::to_string(output) + ".bin");
}

/** The number of the output of a name. */
inline size_t output_of(const std::string &name)
{
    for (size_t i = 0; i < model::outputs.size(); i++) {
        if (name == model::outputs[i].name) {
            return i;
        }
    }
    demand(false, "an output of another name");
    return 0;
}

inline bool exists(const char *file)
{
    std::FILE *found = std::fopen(file, "rb");
    if (found != nullptr) {
        std::fclose(found);
    }
    return found != nullptr;
}

inline std::string base_of(const std::string &file) { return file.substr(file.find_last_of('/') + 1); }

} // namespace oracle

#endif
