/**
 * @file onnxruntime_session.h
 * @brief A network in ONNX Runtime, by its C API; what computes it is chosen by the includer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef ONNXRUNTIME_SESSION_H
#define ONNXRUNTIME_SESSION_H

#include "runtime.h"

#include <onnxruntime_c_api.h>

#include "failure.h"
#include "model.h"

namespace {

const OrtApi &api()
{
    static const OrtApi *found = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (found == nullptr) {
        throw Failure(std::string("the library of ONNX Runtime is older than its header: ") +
                      OrtGetApiBase()->GetVersionString());
    }
    return *found;
}

void demand(OrtStatus *status)
{
    if (status != nullptr) {
        const std::string words = api().GetErrorMessage(status);
        api().ReleaseStatus(status);
        throw Failure("ONNX Runtime: " + words);
    }
}

/** What the runtime made, and the function that frees it. */
template <typename T> using Free = void(ORT_API_CALL *)(T *);
template <typename T> struct Handle {
    T *made = nullptr;
    Free<T> free;

    explicit Handle(Free<T> function) : free(function) {}
    Handle(const Handle &) = delete;
    Handle &operator=(const Handle &) = delete;
    ~Handle() { reset(); }

    void reset()
    {
        if (made != nullptr) {
            free(made);
            made = nullptr;
        }
    }
};

/** What computes: an execution provider, and options for it. */
class Provider {
public:
    Provider() = default;
    Provider(const Provider &) = delete;
    Provider &operator=(const Provider &) = delete;
    virtual ~Provider() = default;

    virtual const char *name() const = 0;

    /** Tell the session to be. Throws Failure. */
    virtual void join(OrtEnv *env, OrtSessionOptions *options) = 0;
};

class OnnxRuntime : public Runtime {
public:
    OnnxRuntime(const std::string &folder, const Settings &settings,
                std::unique_ptr<Provider> provider)
        : provider_(std::move(provider)), values_(input_count()), env_(api().ReleaseEnv),
          options_(api().ReleaseSessionOptions), session_(api().ReleaseSession),
          memory_(api().ReleaseMemoryInfo), input_(api().ReleaseValue)
    {
        demand(api().CreateEnv(ORT_LOGGING_LEVEL_WARNING, "edgeark", &env_.made));
        demand(api().CreateSessionOptions(&options_.made));
        demand(api().SetIntraOpNumThreads(options_.made, whole_number(settings, "threads")));
        provider_->join(env_.made, options_.made);
        demand(api().CreateSession(env_.made, network_file(folder).c_str(), options_.made,
                                   &session_.made));
        demand(api().CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory_.made));
        const int64_t shape[] = {1, model::channels, model::height, model::width};
        static_assert(model::input_layout == EP_NCHW && model::input_type == EP_FLOAT32,
                      "an input of another kind");
        demand(api().CreateTensorWithDataAsOrtValue(
            memory_.made, values_.data(), input_bytes(), shape, 4,
            ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &input_.made));
        for (size_t i = 0; i < model::outputs.size(); i++) {
            results_.push_back(std::make_unique<Handle<OrtValue>>(api().ReleaseValue));
        }
    }

    void *input() override { return values_.data(); }

    void infer() override
    {
        const char *const inputs[] = {model::input_name};
        const char *names[model::outputs.size()];
        OrtValue *made[model::outputs.size()] = {};
        for (size_t i = 0; i < model::outputs.size(); i++) {
            names[i] = model::outputs[i].name;
            results_[i]->reset();
        }
        const OrtValue *const fed[] = {input_.made};
        demand(api().Run(session_.made, nullptr, inputs, fed, 1, names, model::outputs.size(),
                         made));
        outputs_.clear();
        for (size_t i = 0; i < model::outputs.size(); i++) {
            results_[i]->made = made[i];
        }
        for (size_t i = 0; i < model::outputs.size(); i++) {
            outputs_.push_back(tensor_of(i, made[i]));
        }
    }

    const std::vector<ep_tensor> &outputs() const override { return outputs_; }

    Words versions() const override
    {
        return {{"name", "onnxruntime"},
                {"version", OrtGetApiBase()->GetVersionString()},
                {"provider", provider_->name()}};
    }

private:
    static ep_tensor tensor_of(size_t index, OrtValue *value)
    {
        Handle<OrtTensorTypeAndShapeInfo> info(api().ReleaseTensorTypeAndShapeInfo);
        ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        size_t count = 0;
        void *data = nullptr;
        demand(api().GetTensorTypeAndShape(value, &info.made));
        demand(api().GetTensorElementType(info.made, &type));
        demand(api().GetTensorShapeElementCount(info.made, &count));
        demand(api().GetTensorMutableData(value, &data));
        if (type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
            throw Failure("ONNX Runtime: an output is not float32");
        }
        return output_tensor(index, data, count);
    }

    std::unique_ptr<Provider> provider_;
    std::vector<float> values_;
    Handle<OrtEnv> env_;
    Handle<OrtSessionOptions> options_;
    Handle<OrtSession> session_;
    Handle<OrtMemoryInfo> memory_;
    Handle<OrtValue> input_;
    std::vector<std::unique_ptr<Handle<OrtValue>>> results_;
    std::vector<ep_tensor> outputs_;
};

} // namespace

#endif
