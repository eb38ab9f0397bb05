/* A stand-in for ncnn's header, our own writing: what a board program calls.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef NCNN_NET_H
#define NCNN_NET_H

#include <memory>
#include <string>
#include <vector>

#define NCNN_VERSION_STRING "1.0.stand-in"

namespace ncnn {

class Mat {
public:
    int w = 0, h = 0, d = 0, c = 0;
    size_t cstep = 0; // elements from one channel to the next

    Mat() = default;
    Mat(int width, int height, int channels);
    Mat channel(int index);
    const Mat channel(int index) const;
    operator float *();
    operator const float *() const;

private:
    std::shared_ptr<std::vector<float>> values_;
    size_t first_ = 0;
};

struct Option {
    int num_threads = 1;
    bool use_vulkan_compute = false;
    bool use_fp16_packed = true;
    bool use_fp16_storage = true;
    bool use_fp16_arithmetic = true;
};

class Extractor {
public:
    int input(const char *name, const Mat &mat);
    int extract(const char *name, Mat &mat);

private:
    int number_ = -1;
};

class Net {
public:
    Option opt;
    int load_param(const char *path);
    int load_model(const char *path);
    Extractor create_extractor() const;
};

} // namespace ncnn

#endif
