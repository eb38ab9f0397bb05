/**
 * @brief The stand-in's librknnrt.
 *
 * Outputs whose scale and zero point the oracle has (scale0.bin ...) are int8, the others float16.
 * STAND_IN_STRIDE in the environment is the unit to which the NPU rounds the input's rows up.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <rknn_api.h>

#include <cstring>
#include <map>
#include <set>

#include "../oracle.h"

namespace {

constexpr rknn_context handle = 77;

struct State {
    bool is_set = false, has_run = false, is_held = false;
    std::vector<uint8_t> fed;
    rknn_tensor_mem *input = nullptr;
    std::map<uint32_t, std::pair<rknn_tensor_mem *, rknn_tensor_attr>> outputs;
    std::set<rknn_tensor_mem *> memories;
    int number = -1;
};
State state;

uint32_t stride()
{
    const char *text = std::getenv("STAND_IN_STRIDE");
    const uint32_t unit = text == nullptr ? 1 : static_cast<uint32_t>(std::atoi(text));
    return (model::width + unit - 1) / unit * unit;
}

size_t count_of(size_t index)
{
    const model::Output &output = model::outputs[index];
    return static_cast<size_t>(output.channels) * static_cast<size_t>(output.height) *
           static_cast<size_t>(output.width);
}

/** Scale and zero point of an output; none of float16. */
std::vector<float> scale_of(size_t index)
{
    return oracle::read<float>("scale" + std::to_string(index) + ".bin");
}

bool is_integer() { return !scale_of(0).empty(); }

void store(size_t index, bool as_float, void *to)
{
    const std::vector<float> values = oracle::answer(state.number, index);
    oracle::demand(values.size() == count_of(index), "answers of another size");
    if (as_float) {
        std::memcpy(to, values.data(), values.size() * sizeof(float));
        return;
    }
    const std::vector<float> scale = scale_of(index);
    for (size_t i = 0; i < values.size(); i++) {
        static_cast<int8_t *>(to)[i] = static_cast<int8_t>(std::rint(values[i] / scale[0]) + scale[1]);
    }
}

void check(rknn_context context) { oracle::demand(context == handle, "another context"); }

} // namespace

int rknn_init(rknn_context *context, void *model, uint32_t size, uint32_t flag, rknn_init_extend *)
{
    oracle::log("init %u bytes, flag %u", size, flag);
    oracle::demand(model != nullptr && size > 0, "no network");
    *context = handle;
    return RKNN_SUCC;
}

int rknn_destroy(rknn_context context)
{
    check(context);
    oracle::demand(state.memories.empty(), "memory that was not given back");
    oracle::demand(!state.is_held, "outputs that were not given back");
    oracle::log("destroy");
    return RKNN_SUCC;
}

int rknn_set_core_mask(rknn_context context, rknn_core_mask mask)
{
    check(context);
    oracle::log("core mask %d", static_cast<int>(mask));
    return RKNN_SUCC;
}

int rknn_query(rknn_context context, rknn_query_cmd command, void *info, uint32_t size)
{
    check(context);
    if (command == RKNN_QUERY_IN_OUT_NUM) {
        oracle::demand(size == sizeof(rknn_input_output_num), "a query of another size");
        *static_cast<rknn_input_output_num *>(info) = {1, static_cast<uint32_t>(model::outputs.size())};
        return RKNN_SUCC;
    }
    if (command == RKNN_QUERY_SDK_VERSION) {
        auto *version = static_cast<rknn_sdk_version *>(info);
        std::strcpy(version->api_version, "2.stand-in");
        std::strcpy(version->drv_version, "0.9.8");
        return RKNN_SUCC;
    }
    oracle::demand(size == sizeof(rknn_tensor_attr), "a query of another size");
    auto *found = static_cast<rknn_tensor_attr *>(info);
    const uint32_t index = found->index;
    if (command == RKNN_QUERY_INPUT_ATTR) {
        oracle::demand(index == 0, "another input");
        found->n_dims = 4;
        found->n_elems = static_cast<uint32_t>(model::channels) * model::height * model::width;
        found->fmt = RKNN_TENSOR_NHWC;
        found->type = is_integer() ? RKNN_TENSOR_INT8 : RKNN_TENSOR_FLOAT16;
        found->w_stride = stride();
        return RKNN_SUCC;
    }
    oracle::demand(index < model::outputs.size(), "another output");
    found->n_dims = 4;
    found->n_elems = static_cast<uint32_t>(count_of(index));
    found->fmt = RKNN_TENSOR_NCHW;
    found->type = is_integer() ? RKNN_TENSOR_INT8 : RKNN_TENSOR_FLOAT16;
    found->qnt_type = is_integer() ? RKNN_TENSOR_QNT_AFFINE_ASYMMETRIC : RKNN_TENSOR_QNT_NONE;
    if (is_integer()) {
        const std::vector<float> scale = scale_of(index);
        found->scale = scale[0];
        found->zp = static_cast<int32_t>(scale[1]);
    }
    return RKNN_SUCC;
}

int rknn_inputs_set(rknn_context context, uint32_t count, rknn_input inputs[])
{
    check(context);
    oracle::log("inputs_set");
    oracle::demand(count == 1 && inputs[0].index == 0, "another input");
    oracle::demand(inputs[0].type == RKNN_TENSOR_UINT8 && inputs[0].fmt == RKNN_TENSOR_NHWC &&
                       inputs[0].pass_through == 0,
                   "an input of another kind");
    const auto *bytes = static_cast<const uint8_t *>(inputs[0].buf);
    state.fed.assign(bytes, bytes + inputs[0].size);
    state.is_set = true;
    return RKNN_SUCC;
}

int rknn_run(rknn_context context, rknn_run_extend *)
{
    check(context);
    oracle::log("run");
    oracle::demand(!state.is_held, "outputs that were not given back");
    if (state.input != nullptr) {
        const size_t row = static_cast<size_t>(model::width) * model::channels;
        const size_t step = static_cast<size_t>(stride()) * model::channels;
        state.fed.clear();
        for (size_t y = 0; y < static_cast<size_t>(model::height); y++) {
            const auto *bytes = static_cast<const uint8_t *>(state.input->virt_addr) + y * step;
            state.fed.insert(state.fed.end(), bytes, bytes + row);
        }
    } else {
        oracle::demand(state.is_set, "run without an input");
    }
    state.number = oracle::number_of(state.fed.data());
    for (const auto &[index, place] : state.outputs) {
        store(index, place.second.type == RKNN_TENSOR_FLOAT32, place.first->virt_addr);
    }
    state.has_run = true;
    return RKNN_SUCC;
}

int rknn_outputs_get(rknn_context context, uint32_t count, rknn_output outputs[], rknn_output_extend *)
{
    check(context);
    oracle::demand(state.has_run && count == model::outputs.size(), "outputs before a run");
    for (uint32_t i = 0; i < count; i++) {
        oracle::log("output %u float %d", outputs[i].index, outputs[i].want_float);
        oracle::demand(outputs[i].want_float != 0 || is_integer(), "float16 as it is");
        outputs[i].size = static_cast<uint32_t>(count_of(i) * (outputs[i].want_float ? 4 : 1));
        outputs[i].buf = std::malloc(outputs[i].size);
        store(i, outputs[i].want_float != 0, outputs[i].buf);
    }
    state.is_held = true;
    return RKNN_SUCC;
}

int rknn_outputs_release(rknn_context context, uint32_t count, rknn_output outputs[])
{
    check(context);
    oracle::log("outputs_release");
    oracle::demand(state.is_held, "outputs that are not held");
    for (uint32_t i = 0; i < count; i++) {
        std::free(outputs[i].buf);
    }
    state.is_held = false;
    return RKNN_SUCC;
}

rknn_tensor_mem *rknn_create_mem(rknn_context context, uint32_t size)
{
    check(context);
    oracle::log("create_mem %u", size);
    auto *memory = new rknn_tensor_mem();
    memory->virt_addr = std::calloc(1, size);
    memory->size = size;
    state.memories.insert(memory);
    return memory;
}

int rknn_destroy_mem(rknn_context context, rknn_tensor_mem *memory)
{
    check(context);
    oracle::demand(state.memories.erase(memory) == 1, "memory that is not known");
    std::free(memory->virt_addr);
    delete memory;
    return RKNN_SUCC;
}

int rknn_set_io_mem(rknn_context context, rknn_tensor_mem *memory, rknn_tensor_attr *attributes)
{
    check(context);
    const bool is_input = attributes->type == RKNN_TENSOR_UINT8;
    oracle::log("set_io_mem %s %u type %d format %d", is_input ? "input" : "output", attributes->index,
                static_cast<int>(attributes->type), static_cast<int>(attributes->fmt));
    if (is_input) {
        oracle::demand(attributes->fmt == RKNN_TENSOR_NHWC && attributes->pass_through == 0,
                       "an input of another kind");
        oracle::demand(memory->size >= stride() * model::channels * model::height, "too little memory");
        state.input = memory;
    } else {
        const bool is_float = attributes->type == RKNN_TENSOR_FLOAT32;
        oracle::demand(is_float || (is_integer() && attributes->type == RKNN_TENSOR_INT8),
                       "an output of another type");
        oracle::demand(memory->size >= attributes->n_elems * (is_float ? 4 : 1), "too little memory");
        state.outputs[attributes->index] = {memory, *attributes};
    }
    return RKNN_SUCC;
}
