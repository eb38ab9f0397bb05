/**
 * @brief ncnn: the network from its .param and .bin files.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "runtime.h"

#include <cstring>

#include <net.h>

#include "failure.h"
#include "model.h"

namespace {

class Ncnn : public Runtime {
public:
    Ncnn(const std::string &folder, const Settings &settings)
        : values_(input_count()), results_(model::outputs.size())
    {
        const bool is_half = std::string(model::precision) == "float16";
        network_.opt.use_fp16_packed = is_half;
        network_.opt.use_fp16_storage = is_half;
        network_.opt.use_fp16_arithmetic = is_half;
        network_.opt.use_vulkan_compute = whole_number(settings, "vulkan") != 0;
        if (const int threads = whole_number(settings, "threads")) {
            network_.opt.num_threads = threads;
        }
        for (size_t i = 0; i < 2; i++) {
            const std::string path = network_file(folder, i);
            if ((i == 0 ? network_.load_param(path.c_str()) : network_.load_model(path.c_str())) != 0) {
                throw Failure("ncnn cannot read " + path);
            }
        }
    }

    void *input() override { return values_.data(); }

    void infer() override
    {
        static_assert(model::input_layout == EP_NCHW && model::input_type == EP_FLOAT32,
                      "an input of another kind");
        constexpr size_t places = static_cast<size_t>(model::width) * model::height;
        ncnn::Mat fed(model::width, model::height, model::channels); // its channels have gaps
        for (int c = 0; c < model::channels; c++) {
            float *channel = fed.channel(c);
            std::memcpy(channel, &values_[static_cast<size_t>(c) * places], places * sizeof(float));
        }
        ncnn::Extractor extractor = network_.create_extractor();
        demand(model::input_name, extractor.input(model::input_name, fed));
        outputs_.clear();
        for (size_t i = 0; i < model::outputs.size(); i++) {
            ncnn::Mat found;
            demand(model::outputs[i].name, extractor.extract(model::outputs[i].name, found));
            results_[i] = values_of(found);
            outputs_.push_back(output_tensor(i, results_[i].data(), results_[i].size()));
        }
    }

    const std::vector<ep_tensor> &outputs() const override { return outputs_; }

    Words versions() const override
    {
        return {{"name", "ncnn"},
                {"version", NCNN_VERSION_STRING},
                {"device", network_.opt.use_vulkan_compute ? "gpu" : "cpu"}};
    }

private:
    static void demand(const char *name, int status)
    {
        if (status != 0) {
            throw Failure(std::string("ncnn cannot compute ") + name + ": status " +
                          std::to_string(status));
        }
    }

    static std::vector<float> values_of(const ncnn::Mat &found)
    {
        const size_t places = static_cast<size_t>(found.w) * static_cast<size_t>(found.h) *
                              static_cast<size_t>(found.d);
        std::vector<float> values(places * static_cast<size_t>(found.c));
        for (int c = 0; c < found.c; c++) {
            const float *channel = found.channel(c);
            std::memcpy(&values[static_cast<size_t>(c) * places], channel, places * sizeof(float));
        }
        return values;
    }

    ncnn::Net network_;
    std::vector<float> values_;
    std::vector<std::vector<float>> results_;
    std::vector<ep_tensor> outputs_;
};

} // namespace

std::vector<RuntimeOption> runtime_options()
{
    return {{"vulkan", "0", "1: on the GPU"}};
}

std::unique_ptr<Runtime> open_runtime(const std::string &folder, const Settings &settings)
{
    return std::make_unique<Ncnn>(folder, settings);
}
