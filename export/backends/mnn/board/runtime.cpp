/**
 * @brief MNN: the network from its .mnn file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "runtime.h"

#include <thread>

#include <MNN/Interpreter.hpp>
#include <MNN/MNNDefine.h>
#include <MNN/Tensor.hpp>

#include "failure.h"
#include "model.h"

namespace {

template <typename T>
T choose(const Settings &settings, const std::string &name, const std::map<std::string, T> &known)
{
    const auto found = known.find(settings.at(name));
    if (found == known.end()) {
        std::string words;
        for (const auto &each : known) {
            words += " " + each.first;
        }
        throw Failure("--" + name + " is one of" + words);
    }
    return found->second;
}

/** A tensor of the session's, and its values in the program's own layout. */
struct Slot {
    MNN::Tensor *inner;
    std::unique_ptr<MNN::Tensor> values;

    Slot(MNN::Tensor *tensor, const char *name) : inner(tensor)
    {
        if (inner == nullptr) {
            throw Failure(std::string("MNN: the network has no ") + name);
        }
        values = std::make_unique<MNN::Tensor>(inner, MNN::Tensor::CAFFE);
    }
};

class Mnn : public Runtime {
public:
    Mnn(const std::string &folder, const Settings &settings)
        : backend_(settings.at("backend")),
          network_(MNN::Interpreter::createFromFile(network_file(folder).c_str()))
    {
        if (!network_) {
            throw Failure("MNN cannot read " + network_file(folder));
        }
        MNN::BackendConfig arithmetic;
        arithmetic.precision = choose<MNN::BackendConfig::PrecisionMode>(
            settings, "arithmetic",
            {{"high", MNN::BackendConfig::Precision_High},
             {"normal", MNN::BackendConfig::Precision_Normal},
             {"low", MNN::BackendConfig::Precision_Low}});
        MNN::ScheduleConfig schedule;
        schedule.type = choose<MNNForwardType>(settings, "backend",
                                               {{"CPU", MNN_FORWARD_CPU},
                                                {"OPENCL", MNN_FORWARD_OPENCL},
                                                {"VULKAN", MNN_FORWARD_VULKAN},
                                                {"CUDA", MNN_FORWARD_CUDA},
                                                {"METAL", MNN_FORWARD_METAL}});
        const int threads = whole_number(settings, "threads");
        const int cores = static_cast<int>(std::thread::hardware_concurrency());
        schedule.numThread = threads > 0 ? threads : (cores > 0 ? cores : 1);
        schedule.backendConfig = &arithmetic;
        // The default costs three digits of accuracy.
        network_->setSessionHint(MNN::Interpreter::WINOGRAD_MEMORY_LEVEL, 1);
        session_ = network_->createSession(schedule);
        if (session_ == nullptr) {
            throw Failure("MNN: no session on " + backend_);
        }
        input_ = std::make_unique<Slot>(network_->getSessionInput(session_, model::input_name),
                                        model::input_name);
        if (static_cast<size_t>(input_->values->elementSize()) != input_count()) {
            throw Failure("MNN: the input has another size: another network?");
        }
        for (const model::Output &output : model::outputs) {
            results_.emplace_back(network_->getSessionOutput(session_, output.name), output.name);
        }
    }

    void *input() override { return input_->values->host<float>(); }

    void infer() override
    {
        static_assert(model::input_layout == EP_NCHW && model::input_type == EP_FLOAT32,
                      "an input of another kind");
        input_->inner->copyFromHostTensor(input_->values.get());
        if (const int status = network_->runSession(session_)) {
            throw Failure("MNN: the inference failed: error " + std::to_string(status));
        }
        outputs_.clear();
        for (size_t i = 0; i < results_.size(); i++) {
            MNN::Tensor &values = *results_[i].values;
            results_[i].inner->copyToHostTensor(&values);
            outputs_.push_back(output_tensor(i, values.host<float>(),
                                             static_cast<size_t>(values.elementSize())));
        }
    }

    const std::vector<ep_tensor> &outputs() const override { return outputs_; }

    Words versions() const override
    {
        return {{"name", "mnn"}, {"version", MNN::getVersion()}, {"backend", backend_}};
    }

private:
    std::string backend_;
    std::unique_ptr<MNN::Interpreter> network_;
    MNN::Session *session_ = nullptr;
    std::unique_ptr<Slot> input_;
    std::vector<Slot> results_;
    std::vector<ep_tensor> outputs_;
};

} // namespace

std::vector<RuntimeOption> runtime_options()
{
    return {{"backend", "CPU", "CPU, OPENCL, VULKAN, CUDA or METAL"},
            {"arithmetic", "high", "high, normal or low: low is float16 where there is one"}};
}

std::unique_ptr<Runtime> open_runtime(const std::string &folder, const Settings &settings)
{
    return std::make_unique<Mnn>(folder, settings);
}
