/**
 * @brief OpenVINO, by its C API: the network from its IR.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "runtime.h"

#include <openvino/c/openvino.h>

#include "failure.h"
#include "model.h"

namespace {

void demand(const char *what, ov_status_e status)
{
    if (status != OK) {
        const char *words = ov_get_last_err_msg();
        throw Failure(std::string("OpenVINO: ") + what + ": " +
                      (words != nullptr ? words : ov_get_error_info(status)));
    }
}

/** What OpenVINO made, and the function that frees it. */
template <typename T> using Owned = std::unique_ptr<T, void (*)(T *)>;

template <typename T, typename Make> Owned<T> own(const char *what, void (*free)(T *), Make make)
{
    T *made = nullptr;
    demand(what, make(&made));
    return Owned<T>(made, free);
}

class OpenVino : public Runtime {
public:
    OpenVino(const std::string &folder, const Settings &settings)
        : device_(settings.at("device")),
          core_(own<ov_core_t>("core", ov_core_free, ov_core_create)),
          compiled_(own<ov_compiled_model_t>(
              "the network", ov_compiled_model_free,
              [&](ov_compiled_model_t **made) { return compile(folder, settings, made); })),
          request_(own<ov_infer_request_t>(
              "request", ov_infer_request_free,
              [&](ov_infer_request_t **made) {
                  return ov_compiled_model_create_infer_request(compiled_.get(), made);
              }))
    {
    }

    void *input() override
    {
        const Owned<ov_tensor_t> tensor =
            own<ov_tensor_t>("input", ov_tensor_free, [this](ov_tensor_t **made) {
                return ov_infer_request_get_input_tensor(request_.get(), made);
            });
        size_t bytes = 0;
        void *data = nullptr;
        demand("input", ov_tensor_get_byte_size(tensor.get(), &bytes));
        demand("input", ov_tensor_data(tensor.get(), &data));
        if (bytes != input_bytes()) {
            throw Failure("OpenVINO: the input has another size: another network?");
        }
        return data;
    }

    void infer() override
    {
        demand("inference", ov_infer_request_infer(request_.get()));
        outputs_.clear();
        for (size_t i = 0; i < model::outputs.size(); i++) {
            const Owned<ov_tensor_t> tensor =
                own<ov_tensor_t>("output", ov_tensor_free, [this, i](ov_tensor_t **made) {
                    return ov_infer_request_get_output_tensor_by_index(request_.get(), i, made);
                });
            ov_element_type_e type = DYNAMIC;
            size_t count = 0;
            void *data = nullptr;
            demand("output", ov_tensor_get_element_type(tensor.get(), &type));
            demand("output", ov_tensor_get_size(tensor.get(), &count));
            demand("output", ov_tensor_data(tensor.get(), &data));
            if (type != F32) {
                throw Failure("OpenVINO: an output is not float32");
            }
            outputs_.push_back(output_tensor(i, data, count));
        }
    }

    const std::vector<ep_tensor> &outputs() const override { return outputs_; }

    Words versions() const override
    {
        ov_version_t version;
        demand("version", ov_get_openvino_version(&version));
        const std::string build = version.buildNumber;
        ov_version_free(&version);
        return {{"name", "openvino"}, {"version", build}, {"device", device_}};
    }

private:
    ov_status_e compile(const std::string &folder, const Settings &settings,
                        ov_compiled_model_t **made)
    {
        const std::string path = network_file(folder), &threads = settings.at("threads");
        const char *device = device_.c_str();
        if (device_ != "CPU") {
            return ov_core_compile_model_from_file(core_.get(), path.c_str(), device, 2, made,
                                                   ov_property_key_hint_performance_mode,
                                                   "LATENCY");
        }
        const char *precision = settings.at("inference-precision").c_str();
        if (threads == "0") {
            return ov_core_compile_model_from_file(
                core_.get(), path.c_str(), device, 4, made, ov_property_key_hint_performance_mode,
                "LATENCY", ov_property_key_hint_inference_precision, precision);
        }
        return ov_core_compile_model_from_file(
            core_.get(), path.c_str(), device, 6, made, ov_property_key_hint_performance_mode,
            "LATENCY", ov_property_key_hint_inference_precision, precision,
            ov_property_key_inference_num_threads, threads.c_str());
    }

    std::string device_;
    Owned<ov_core_t> core_;
    Owned<ov_compiled_model_t> compiled_;
    Owned<ov_infer_request_t> request_;
    std::vector<ep_tensor> outputs_;
};

} // namespace

std::vector<RuntimeOption> runtime_options()
{
    return {{"device", "CPU", "CPU, GPU or NPU"},
            {"inference-precision", "f32", "what the CPU computes in: f32, f16, bf16"}};
}

std::unique_ptr<Runtime> open_runtime(const std::string &folder, const Settings &settings)
{
    return std::make_unique<OpenVino>(folder, settings);
}
