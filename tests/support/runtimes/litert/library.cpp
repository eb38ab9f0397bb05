/* The stand-in's LiteRT. SPDX-License-Identifier: Apache-2.0 */
#include <tensorflow/lite/c/c_api.h>

#include <cstring>

#include "../oracle.h"

struct TfLiteModel {
    int unused;
};

struct TfLiteInterpreterOptions {
    int threads = -1;
};

struct TfLiteTensor {
    ep_type type;
    std::vector<uint8_t> bytes;
};

struct TfLiteInterpreter {
    bool is_allocated = false;
    TfLiteTensor input;
    std::vector<TfLiteTensor> outputs;
};

namespace {

size_t size_of(ep_type type) { return type == EP_FLOAT32 ? sizeof(float) : 1; }

/** Answers as the network has them: channels last or first, perhaps quantised. */
void store(const model::Output &wanted, const std::vector<float> &values, TfLiteTensor &tensor)
{
    tensor.type = wanted.type;
    tensor.bytes.resize(values.size() * size_of(wanted.type));
    const size_t channels = static_cast<size_t>(wanted.channels), places = values.size() / channels;
    for (size_t c = 0; c < channels; c++) {
        for (size_t i = 0; i < places; i++) {
            const float value = values[c * places + i];
            const size_t at = wanted.layout == EP_NHWC ? i * channels + c : c * places + i;
            if (wanted.type == EP_FLOAT32) {
                std::memcpy(&tensor.bytes[at * sizeof(float)], &value, sizeof(float));
            } else {
                const float q = std::rint(value / wanted.scale) + static_cast<float>(wanted.zero_point);
                tensor.bytes[at] = static_cast<uint8_t>(static_cast<int8_t>(std::fmin(127.0f, std::fmax(-128.0f, q))));
            }
        }
    }
}

} // namespace

const char *TfLiteVersion(void) { return "2.stand-in"; }

TfLiteModel *TfLiteModelCreateFromFile(const char *path)
{
    oracle::log("model %s", oracle::base_of(path).c_str());
    return oracle::exists(path) ? new TfLiteModel() : nullptr;
}

void TfLiteModelDelete(TfLiteModel *model) { delete model; }

TfLiteInterpreterOptions *TfLiteInterpreterOptionsCreate(void) { return new TfLiteInterpreterOptions(); }

void TfLiteInterpreterOptionsDelete(TfLiteInterpreterOptions *options) { delete options; }

void TfLiteInterpreterOptionsSetNumThreads(TfLiteInterpreterOptions *options, int32_t threads)
{
    options->threads = threads;
}

TfLiteInterpreter *TfLiteInterpreterCreate(const TfLiteModel *, const TfLiteInterpreterOptions *options)
{
    oracle::log("interpreter threads %d", options->threads);
    return new TfLiteInterpreter();
}

void TfLiteInterpreterDelete(TfLiteInterpreter *interpreter)
{
    oracle::log("delete");
    delete interpreter;
}

TfLiteStatus TfLiteInterpreterAllocateTensors(TfLiteInterpreter *interpreter)
{
    oracle::log("allocate");
    constexpr size_t count = static_cast<size_t>(model::channels) * model::height * model::width;
    interpreter->is_allocated = true;
    interpreter->input.type = model::input_type;
    interpreter->input.bytes.resize(count * size_of(model::input_type));
    interpreter->outputs.resize(model::outputs.size());
    return kTfLiteOk;
}

TfLiteStatus TfLiteInterpreterInvoke(TfLiteInterpreter *interpreter)
{
    oracle::log("invoke");
    oracle::demand(interpreter->is_allocated, "invoke before allocate");
    const void *fed = interpreter->input.bytes.data();
    const int number = model::input_type == EP_FLOAT32
                           ? oracle::number_of(static_cast<const float *>(fed))
                           : oracle::number_of(static_cast<const int8_t *>(fed));
    for (size_t i = 0; i < model::outputs.size(); i++) {
        store(model::outputs[i], oracle::answer(number, i), interpreter->outputs[i]);
    }
    return kTfLiteOk;
}

TfLiteTensor *TfLiteInterpreterGetInputTensor(const TfLiteInterpreter *interpreter, int32_t index)
{
    oracle::demand(index == 0, "another input");
    oracle::demand(interpreter->is_allocated, "an input before allocate");
    return const_cast<TfLiteTensor *>(&interpreter->input);
}

int32_t TfLiteInterpreterGetOutputTensorCount(const TfLiteInterpreter *interpreter)
{
    return static_cast<int32_t>(interpreter->outputs.size());
}

const TfLiteTensor *TfLiteInterpreterGetOutputTensor(const TfLiteInterpreter *interpreter, int32_t index)
{
    return &interpreter->outputs.at(static_cast<size_t>(index));
}

TfLiteType TfLiteTensorType(const TfLiteTensor *tensor)
{
    return tensor->type == EP_FLOAT32 ? kTfLiteFloat32 : tensor->type == EP_INT8 ? kTfLiteInt8 : kTfLiteUInt8;
}

size_t TfLiteTensorByteSize(const TfLiteTensor *tensor) { return tensor->bytes.size(); }

void *TfLiteTensorData(const TfLiteTensor *tensor)
{
    return const_cast<uint8_t *>(tensor->bytes.data());
}
