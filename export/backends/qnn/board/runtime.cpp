/**
 * @brief ONNX Runtime with Qualcomm's execution provider: the network on the Hexagon HTP.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "onnxruntime_session.h"

#include <cstring>

namespace {

/** A plugin: a library of its own, which ONNX Runtime opens. */
class Qnn : public Provider {
public:
    explicit Qnn(const Settings &settings) : settings_(settings) {}

    const char *name() const override { return "QNNExecutionProvider"; }

    void join(OrtEnv *env, OrtSessionOptions *options) override
    {
        demand(api().RegisterExecutionProviderLibrary(env, name(),
                                                      settings_.at("provider").c_str()));
        const OrtEpDevice *const *devices = nullptr;
        size_t count = 0;
        demand(api().GetEpDevices(env, &devices, &count));
        const OrtEpDevice *own = nullptr;
        for (size_t i = 0; i < count && own == nullptr; i++) {
            if (std::strcmp(api().EpDevice_EpName(devices[i]), name()) == 0) {
                own = devices[i];
            }
        }
        if (own == nullptr) {
            throw Failure("ONNX Runtime: the provider sees no Qualcomm processor here");
        }
        if (whole_number(settings_, "cpu") == 0) {
            demand(api().AddSessionConfigEntry(options, "session.disable_cpu_ep_fallback", "1"));
        }
        const char *const keys[] = {"backend_path", "htp_performance_mode"};
        const char *const values[] = {settings_.at("backend").c_str(),
                                      settings_.at("performance").c_str()};
        demand(api().SessionOptionsAppendExecutionProvider_V2(options, env, &own, 1, keys, values,
                                                              2));
    }

private:
    Settings settings_;
};

} // namespace

std::vector<RuntimeOption> runtime_options()
{
    return {{"provider", "libonnxruntime_providers_qnn.so", "the provider's library"},
            {"backend", "libQnnHtp.so", "Qualcomm's library of the HTP"},
            {"performance", "burst", "the HTP's clock: burst, balanced, power_saver ..."},
            {"cpu", "0", "1: the CPU may take what the HTP cannot"}};
}

std::unique_ptr<Runtime> open_runtime(const std::string &folder, const Settings &settings)
{
    return std::make_unique<OnnxRuntime>(folder, settings, std::make_unique<Qnn>(settings));
}
