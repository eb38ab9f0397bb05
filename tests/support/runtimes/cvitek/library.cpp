/**
 * @brief The stand-in's libcviruntime: outputs come in the opposite order, by their names.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <cviruntime.h>

#include <cstring>

#include "../oracle.h"

namespace {

constexpr size_t input_bytes =
    static_cast<size_t>(model::channels) * model::height * model::width;

struct State {
    bool is_loaded = false;
    std::vector<uint8_t> pixels = std::vector<uint8_t>(input_bytes);
    std::vector<std::vector<float>> values;
    std::vector<std::string> names;
    CVI_TENSOR input;
    std::vector<CVI_TENSOR> outputs;
};
State state;
int handle;

void check(CVI_MODEL_HANDLE model)
{
    oracle::demand(model == &handle && state.is_loaded, "another model");
}

} // namespace

CVI_RC CVI_NN_RegisterModel(const char *file, CVI_MODEL_HANDLE *model)
{
    oracle::log("register %s", oracle::base_of(file).c_str());
    if (!oracle::exists(file)) {
        return CVI_RC_FAILURE;
    }
    state.is_loaded = true;
    *model = &handle;
    return CVI_RC_SUCCESS;
}

CVI_RC CVI_NN_GetInputOutputTensors(CVI_MODEL_HANDLE model, CVI_TENSOR **inputs, int32_t *input_num,
                                    CVI_TENSOR **outputs, int32_t *output_num)
{
    check(model);
    static char name[] = "input_raw";
    state.input = {name, state.pixels.data(), input_bytes, input_bytes};
    state.names.clear();
    for (const model::Output &output : model::outputs) {
        state.names.insert(state.names.begin(), output.name);
        state.values.insert(state.values.begin(),
                            std::vector<float>(static_cast<size_t>(output.channels) *
                                               static_cast<size_t>(output.height) *
                                               static_cast<size_t>(output.width)));
    }
    for (size_t i = 0; i < state.names.size(); i++) {
        std::vector<float> &values = state.values[i];
        state.outputs.push_back(
            {&state.names[i][0], values.data(), values.size(), values.size() * sizeof(float)});
    }
    *inputs = &state.input;
    *outputs = state.outputs.data();
    *input_num = 1;
    *output_num = static_cast<int32_t>(state.outputs.size());
    return CVI_RC_SUCCESS;
}

CVI_RC CVI_NN_Forward(CVI_MODEL_HANDLE model, CVI_TENSOR inputs[], int32_t input_num,
                      CVI_TENSOR outputs[], int32_t output_num)
{
    check(model);
    oracle::log("forward");
    oracle::demand(inputs == &state.input && input_num == 1, "another input");
    oracle::demand(outputs == state.outputs.data() &&
                       static_cast<size_t>(output_num) == state.outputs.size(),
                   "other outputs");
    const int number = oracle::number_of(state.pixels.data());
    for (size_t i = 0; i < state.outputs.size(); i++) {
        const std::vector<float> answer = oracle::answer(number, oracle::output_of(state.names[i]));
        oracle::demand(answer.size() == state.values[i].size(), "answers of another size");
        std::memcpy(state.values[i].data(), answer.data(), answer.size() * sizeof(float));
    }
    return CVI_RC_SUCCESS;
}

CVI_RC CVI_NN_CleanupModel(CVI_MODEL_HANDLE model)
{
    check(model);
    oracle::log("cleanup");
    state.is_loaded = false;
    return CVI_RC_SUCCESS;
}

char *CVI_NN_TensorName(CVI_TENSOR *tensor) { return tensor->name; }

void *CVI_NN_TensorPtr(CVI_TENSOR *tensor) { return tensor->memory; }

size_t CVI_NN_TensorCount(CVI_TENSOR *tensor) { return tensor->count; }

size_t CVI_NN_TensorSize(CVI_TENSOR *tensor) { return tensor->bytes; }
