/* The stand-in's ncnn. SPDX-License-Identifier: Apache-2.0 */
#include <net.h>

#include "../oracle.h"

namespace ncnn {

Mat::Mat(int width, int height, int channels) : w(width), h(height), d(1), c(channels)
{
    // As in ncnn, a channel begins at a multiple of 16 bytes.
    cstep = (static_cast<size_t>(w) * static_cast<size_t>(h) + 3) / 4 * 4;
    values_ = std::make_shared<std::vector<float>>(cstep * static_cast<size_t>(c), -1.0f);
}

Mat Mat::channel(int index)
{
    oracle::demand(index >= 0 && index < c, "a channel that is not there");
    Mat part = *this;
    part.c = 1;
    part.first_ = first_ + cstep * static_cast<size_t>(index);
    return part;
}

const Mat Mat::channel(int index) const { return const_cast<Mat *>(this)->channel(index); }

Mat::operator float *() { return values_->data() + first_; }

Mat::operator const float *() const { return values_->data() + first_; }

int Net::load_param(const char *path)
{
    oracle::log("load_param %s half %d%d%d vulkan %d threads %d", oracle::base_of(path).c_str(),
                opt.use_fp16_packed, opt.use_fp16_storage, opt.use_fp16_arithmetic,
                opt.use_vulkan_compute, opt.num_threads);
    return oracle::exists(path) ? 0 : -1;
}

int Net::load_model(const char *path)
{
    oracle::log("load_model %s", oracle::base_of(path).c_str());
    return oracle::exists(path) ? 0 : -1;
}

Extractor Net::create_extractor() const
{
    oracle::log("create_extractor");
    return {};
}

int Extractor::input(const char *name, const Mat &mat)
{
    oracle::log("input %s %dx%dx%d", name, mat.w, mat.h, mat.c);
    oracle::demand(std::string(name) == model::input_name, "an input of another name");
    std::vector<float> fed;
    for (int c = 0; c < mat.c; c++) {
        const Mat part = mat.channel(c);
        const float *values = part;
        fed.insert(fed.end(), values, values + mat.w * mat.h);
    }
    oracle::demand(mat.w == model::width && mat.h == model::height && mat.c == model::channels,
                   "an input of another shape");
    number_ = oracle::number_of(fed.data());
    return 0;
}

int Extractor::extract(const char *name, Mat &mat)
{
    oracle::log("extract %s", name);
    oracle::demand(number_ >= 0, "extract before input");
    const size_t index = oracle::output_of(name);
    const model::Output &output = model::outputs[index];
    const std::vector<float> values = oracle::answer(number_, index);
    mat = Mat(output.width, output.height, output.channels);
    const size_t places = static_cast<size_t>(output.width) * static_cast<size_t>(output.height);
    for (int c = 0; c < output.channels; c++) {
        float *channel = mat.channel(c);
        for (size_t i = 0; i < places; i++) {
            channel[i] = values[static_cast<size_t>(c) * places + i];
        }
    }
    return 0;
}

} // namespace ncnn
