/**
 * @brief Rockchip's NPU, by rknn_api.h: the network from its .rknn file.
 *
 * The input is filled and the outputs are read where the NPU has them. Integer outputs are read as
 * they are, so that a place below the score threshold costs one comparison; --float 1 has the
 * runtime convert them, --copy 1 has it copy inputs and outputs, as drivers without such memory do.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "runtime.h"

#include <cstdio>
#include <cstring>

#include <rknn_api.h>

#include "failure.h"
#include "json.h"
#include "model.h"

namespace {

void demand(const char *what, int status)
{
    if (status != RKNN_SUCC) {
        throw Failure(format("%s failed: %d", what, status));
    }
}

std::vector<char> read_file(const std::string &path)
{
    const std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(path.c_str(), "rb"),
                                                                std::fclose);
    std::vector<char> data;
    char block[1 << 14];
    for (size_t n; file && (n = std::fread(block, 1, sizeof block, file.get())) > 0;) {
        data.insert(data.end(), block, block + n);
    }
    if (data.empty()) {
        throw Failure("cannot read " + path);
    }
    return data;
}

/** The context, and the memory that belongs to it. */
class Context {
public:
    explicit Context(std::vector<char> network)
    {
        demand("rknn_init",
               rknn_init(&handle_, network.data(), static_cast<uint32_t>(network.size()), 0, nullptr));
    }

    Context(const Context &) = delete;
    Context &operator=(const Context &) = delete;

    ~Context()
    {
        for (rknn_tensor_mem *memory : memories_) {
            rknn_destroy_mem(handle_, memory);
        }
        rknn_destroy(handle_);
    }

    operator rknn_context() const { return handle_; }

    /** Memory of the NPU for a tensor. */
    rknn_tensor_mem *attach(rknn_tensor_attr &attributes, uint32_t size)
    {
        rknn_tensor_mem *memory = rknn_create_mem(handle_, size);
        if (memory == nullptr) {
            throw Failure("rknn_create_mem failed: try --copy 1");
        }
        memories_.push_back(memory);
        demand("rknn_set_io_mem", rknn_set_io_mem(handle_, memory, &attributes));
        return memory;
    }

private:
    rknn_context handle_ = 0;
    std::vector<rknn_tensor_mem *> memories_;
};

rknn_tensor_attr attributes_of(rknn_context context, rknn_query_cmd query, size_t index)
{
    rknn_tensor_attr attributes;
    std::memset(&attributes, 0, sizeof attributes);
    attributes.index = static_cast<uint32_t>(index);
    demand("rknn_query", rknn_query(context, query, &attributes, sizeof attributes));
    return attributes;
}

class Rknn : public Runtime {
public:
    Rknn(const std::string &folder, const Settings &settings)
        : context_(read_file(network_file(folder))),
          copies_(whole_number(settings, "copy") != 0), pixels_(input_bytes())
    {
        static_assert(model::input_layout == EP_NHWC && model::input_type == EP_UINT8,
                      "an input of another kind");
        if (const int mask = whole_number(settings, "core-mask")) {
            demand("rknn_set_core_mask",
                   rknn_set_core_mask(context_, static_cast<rknn_core_mask>(mask)));
        }
        rknn_input_output_num count;
        demand("rknn_query", rknn_query(context_, RKNN_QUERY_IN_OUT_NUM, &count, sizeof count));
        if (count.n_input != 1 || count.n_output != model::outputs.size()) {
            throw Failure("the NPU's network has other inputs or outputs: another network?");
        }
        set_input();
        const bool is_float = whole_number(settings, "float") != 0;
        for (size_t i = 0; i < model::outputs.size(); i++) {
            set_output(i, is_float);
        }
    }

    ~Rknn() override { release(); }

    void *input() override
    {
        return is_direct_ ? static_cast<uint8_t *>(input_->virt_addr) : pixels_.data();
    }

    void infer() override
    {
        if (copies_) {
            copy_in();
        } else if (!is_direct_) {
            copy_rows();
        }
        demand("rknn_run", rknn_run(context_, nullptr));
        if (copies_) {
            copy_out();
        }
    }

    const std::vector<ep_tensor> &outputs() const override { return outputs_; }

    Words versions() const override
    {
        rknn_sdk_version version;
        demand("rknn_query", rknn_query(context_, RKNN_QUERY_SDK_VERSION, &version, sizeof version));
        return {{"name", "rknnrt"}, {"version", version.api_version}, {"driver", version.drv_version}};
    }

private:
    /** Pixels go in as they are: the runtime knows mean, deviation and quantisation. */
    void set_input()
    {
        rknn_tensor_attr attributes = attributes_of(context_, RKNN_QUERY_INPUT_ATTR, 0);
        if (attributes.n_elems != input_count()) {
            throw Failure("the NPU's input has another size: another network?");
        }
        if (copies_) {
            return;
        }
        attributes.type = RKNN_TENSOR_UINT8;
        attributes.fmt = RKNN_TENSOR_NHWC;
        attributes.pass_through = 0;
        row_bytes_ = pixel_row;
        if (attributes.w_stride > model::width) { // the NPU wants rows of whole units
            row_bytes_ = static_cast<size_t>(attributes.w_stride) * model::channels;
        }
        is_direct_ = row_bytes_ == pixel_row;
        input_ = context_.attach(attributes, static_cast<uint32_t>(row_bytes_ * model::height));
    }

    void set_output(size_t index, bool is_float)
    {
        rknn_tensor_attr attributes = attributes_of(context_, RKNN_QUERY_OUTPUT_ATTR, index);
        const bool is_integer =
            attributes.qnt_type == RKNN_TENSOR_QNT_AFFINE_ASYMMETRIC &&
            (attributes.type == RKNN_TENSOR_INT8 || attributes.type == RKNN_TENSOR_UINT8);
        const void *data = nullptr;
        wants_float_.push_back(is_float || !is_integer);
        if (wants_float_.back()) {
            attributes.type = RKNN_TENSOR_FLOAT32;
        }
        const size_t size = wants_float_.back() ? sizeof(float) : 1;
        if (!copies_) {
            // What is not a map has no layout that the runtime could choose.
            attributes.fmt = attributes.n_dims == 4 ? RKNN_TENSOR_NCHW : attributes.fmt;
            data = context_.attach(attributes, static_cast<uint32_t>(attributes.n_elems * size))
                       ->virt_addr;
        }
        ep_tensor tensor = output_tensor(index, data, attributes.n_elems);
        if (!wants_float_.back()) {
            tensor.type = attributes.type == RKNN_TENSOR_INT8 ? EP_INT8 : EP_UINT8;
            tensor.scale = attributes.scale;
            tensor.zero_point = attributes.zp;
        }
        if (copies_ && attributes.fmt == RKNN_TENSOR_NHWC && attributes.n_dims == 4) {
            tensor.layout = EP_NHWC;
        }
        outputs_.push_back(tensor);
    }

    void copy_rows()
    {
        for (size_t y = 0; y < static_cast<size_t>(model::height); y++) {
            std::memcpy(static_cast<uint8_t *>(input_->virt_addr) + y * row_bytes_,
                        &pixels_[y * pixel_row], pixel_row);
        }
    }

    void copy_in()
    {
        release();
        rknn_input input;
        std::memset(&input, 0, sizeof input);
        input.buf = pixels_.data();
        input.size = static_cast<uint32_t>(pixels_.size());
        input.type = RKNN_TENSOR_UINT8;
        input.fmt = RKNN_TENSOR_NHWC;
        demand("rknn_inputs_set", rknn_inputs_set(context_, 1, &input));
    }

    void copy_out()
    {
        std::vector<rknn_output> found(outputs_.size());
        for (size_t i = 0; i < found.size(); i++) {
            std::memset(&found[i], 0, sizeof found[i]);
            found[i].index = static_cast<uint32_t>(i);
            found[i].want_float = wants_float_[i] ? 1 : 0;
        }
        demand("rknn_outputs_get", rknn_outputs_get(context_, static_cast<uint32_t>(found.size()),
                                                    found.data(), nullptr));
        held_ = std::move(found);
        for (size_t i = 0; i < held_.size(); i++) {
            outputs_[i].data = held_[i].buf;
        }
    }

    /** Give the outputs of the last inference back. */
    void release()
    {
        if (!held_.empty()) {
            rknn_outputs_release(context_, static_cast<uint32_t>(held_.size()), held_.data());
            held_.clear();
        }
    }

    static constexpr size_t pixel_row = static_cast<size_t>(model::width) * model::channels;

    Context context_;
    bool copies_;
    bool is_direct_ = false;
    size_t row_bytes_ = 0;
    std::vector<uint8_t> pixels_;
    rknn_tensor_mem *input_ = nullptr;
    std::vector<bool> wants_float_;
    std::vector<rknn_output> held_;
    std::vector<ep_tensor> outputs_;
};

} // namespace

std::vector<RuntimeOption> runtime_options()
{
    return {{"core-mask", "0", "NPU cores: 1, 2, 4, or 7 for all three of rk3588; 0: any one"},
            {"float", "0", "1: the runtime converts integer outputs"},
            {"copy", "0", "1: the runtime copies inputs and outputs"}};
}

std::unique_ptr<Runtime> open_runtime(const std::string &folder, const Settings &settings)
{
    return std::make_unique<Rknn>(folder, settings);
}
