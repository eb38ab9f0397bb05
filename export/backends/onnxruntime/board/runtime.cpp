/**
 * @brief ONNX Runtime on the CPU: the network from its ONNX file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "onnxruntime_session.h"

namespace {

class Cpu : public Provider {
public:
    const char *name() const override { return "CPUExecutionProvider"; }
    void join(OrtEnv *, OrtSessionOptions *) override {}
};

} // namespace

std::vector<RuntimeOption> runtime_options() { return {}; }

std::unique_ptr<Runtime> open_runtime(const std::string &folder, const Settings &settings)
{
    return std::make_unique<OnnxRuntime>(folder, settings, std::make_unique<Cpu>());
}
