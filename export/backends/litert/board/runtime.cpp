/**
 * @brief LiteRT (TensorFlow Lite), by TensorFlow Lite's C API: the network from its .tflite file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "runtime.h"

#include <tensorflow/lite/c/c_api.h>

#include "failure.h"
#include "model.h"

namespace {

template <typename T> using Owned = std::unique_ptr<T, void (*)(T *)>;

void demand(const char *what, TfLiteStatus status)
{
    if (status != kTfLiteOk) {
        throw Failure(std::string("LiteRT: ") + what + " failed: its reason is above");
    }
}

class LiteRt : public Runtime {
public:
    LiteRt(const std::string &folder, const Settings &settings)
        : model_(TfLiteModelCreateFromFile(network_file(folder).c_str()), TfLiteModelDelete),
          options_(TfLiteInterpreterOptionsCreate(), TfLiteInterpreterOptionsDelete),
          interpreter_(nullptr, TfLiteInterpreterDelete)
    {
        if (!model_) {
            throw Failure("LiteRT cannot read " + network_file(folder));
        }
        if (const int threads = whole_number(settings, "threads")) {
            TfLiteInterpreterOptionsSetNumThreads(options_.get(), threads);
        }
        interpreter_.reset(TfLiteInterpreterCreate(model_.get(), options_.get()));
        if (!interpreter_) {
            throw Failure("LiteRT cannot run " + network_file(folder));
        }
        demand("allocation", TfLiteInterpreterAllocateTensors(interpreter_.get()));
        const int count = TfLiteInterpreterGetOutputTensorCount(interpreter_.get());
        if (count != static_cast<int>(model::outputs.size())) {
            throw Failure("LiteRT: the network has other outputs: another network?");
        }
    }

    void *input() override
    {
        TfLiteTensor *tensor = TfLiteInterpreterGetInputTensor(interpreter_.get(), 0);
        if (tensor == nullptr || TfLiteTensorByteSize(tensor) != input_bytes() ||
            TfLiteTensorType(tensor) != type_of(model::input_type)) {
            throw Failure("LiteRT: the input is another: another network?");
        }
        return TfLiteTensorData(tensor);
    }

    void infer() override
    {
        demand("the inference", TfLiteInterpreterInvoke(interpreter_.get()));
        outputs_.clear();
        for (size_t i = 0; i < model::outputs.size(); i++) {
            const TfLiteTensor *tensor =
                TfLiteInterpreterGetOutputTensor(interpreter_.get(), static_cast<int32_t>(i));
            const ep_type type = model::outputs[i].type;
            if (tensor == nullptr || TfLiteTensorType(tensor) != type_of(type)) {
                throw Failure("LiteRT: an output has another type: another network?");
            }
            const size_t size = type == EP_FLOAT32 ? sizeof(float) : 1;
            outputs_.push_back(
                output_tensor(i, TfLiteTensorData(tensor), TfLiteTensorByteSize(tensor) / size));
        }
    }

    const std::vector<ep_tensor> &outputs() const override { return outputs_; }

    Words versions() const override { return {{"name", "litert"}, {"version", TfLiteVersion()}}; }

private:
    static TfLiteType type_of(ep_type type)
    {
        return type == EP_FLOAT32 ? kTfLiteFloat32 : type == EP_INT8 ? kTfLiteInt8 : kTfLiteUInt8;
    }

    Owned<TfLiteModel> model_;
    Owned<TfLiteInterpreterOptions> options_;
    Owned<TfLiteInterpreter> interpreter_;
    std::vector<ep_tensor> outputs_;
};

} // namespace

std::vector<RuntimeOption> runtime_options() { return {}; }

std::unique_ptr<Runtime> open_runtime(const std::string &folder, const Settings &settings)
{
    return std::make_unique<LiteRt>(folder, settings);
}
