/**
 * @brief Sophgo's CV18xx, by cviruntime.h: the network from its .cvimodel file.
 *
 * Raw pixels go in, one plane a channel: the network normalises. Outputs are read where the
 * runtime has them, as float.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "runtime.h"

#include <cviruntime.h>

#include "failure.h"
#include "json.h"
#include "model.h"

namespace {

void demand(const char *what, CVI_RC status)
{
    if (status != CVI_RC_SUCCESS) {
        throw Failure(format("%s failed: %d", what, static_cast<int>(status)));
    }
}

/** The loaded network. */
class Loaded {
public:
    explicit Loaded(const std::string &path)
    {
        demand("CVI_NN_RegisterModel", CVI_NN_RegisterModel(path.c_str(), &handle_));
    }

    Loaded(const Loaded &) = delete;
    Loaded &operator=(const Loaded &) = delete;

    ~Loaded() { CVI_NN_CleanupModel(handle_); }

    operator CVI_MODEL_HANDLE() const { return handle_; }

private:
    CVI_MODEL_HANDLE handle_ = nullptr;
};

class Cvi : public Runtime {
public:
    explicit Cvi(const std::string &folder) : loaded_(network_file(folder))
    {
        static_assert(model::input_layout == EP_NCHW && model::input_type == EP_UINT8,
                      "an input of another kind");
        demand("CVI_NN_GetInputOutputTensors",
               CVI_NN_GetInputOutputTensors(loaded_, &inputs_, &input_count_, &found_, &found_count_));
        if (input_count_ != 1 || static_cast<size_t>(found_count_) != model::outputs.size()) {
            throw Failure("the TPU's network has other inputs or outputs: another network?");
        }
        if (CVI_NN_TensorSize(inputs_) != input_bytes()) {
            throw Failure("the TPU's input has another size: another network?");
        }
        for (size_t i = 0; i < model::outputs.size(); i++) {
            add_output(i);
        }
    }

    void *input() override { return CVI_NN_TensorPtr(inputs_); }

    void infer() override
    {
        demand("CVI_NN_Forward",
               CVI_NN_Forward(loaded_, inputs_, input_count_, found_, found_count_));
    }

    const std::vector<ep_tensor> &outputs() const override { return outputs_; }

    Words versions() const override { return {{"name", "cviruntime"}, {"version", "unknown"}}; }

private:
    /** The runtime's order is its own. */
    void add_output(size_t index)
    {
        CVI_TENSOR *tensor = nullptr;
        for (int32_t i = 0; i < found_count_ && tensor == nullptr; i++) {
            const char *name = CVI_NN_TensorName(&found_[i]);
            tensor = name != nullptr && std::string(name) == model::outputs[index].name ? &found_[i]
                                                                                        : nullptr;
        }
        if (tensor == nullptr) {
            throw Failure(std::string("no output ") + model::outputs[index].name +
                          ": another network?");
        }
        const size_t count = CVI_NN_TensorCount(tensor);
        if (CVI_NN_TensorSize(tensor) != count * sizeof(float)) {
            throw Failure(std::string("not of float: output ") + model::outputs[index].name);
        }
        outputs_.push_back(output_tensor(index, CVI_NN_TensorPtr(tensor), count));
    }

    Loaded loaded_;
    CVI_TENSOR *inputs_ = nullptr, *found_ = nullptr;
    int32_t input_count_ = 0, found_count_ = 0;
    std::vector<ep_tensor> outputs_;
};

} // namespace

std::vector<RuntimeOption> runtime_options() { return {}; }

std::unique_ptr<Runtime> open_runtime(const std::string &folder, const Settings &)
{
    return std::make_unique<Cvi>(folder);
}
