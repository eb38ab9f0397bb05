/* See MNNDefine.h. SPDX-License-Identifier: Apache-2.0 */
#ifndef MNN_INTERPRETER_HPP
#define MNN_INTERPRETER_HPP

#include <memory>
#include <string>
#include <vector>

#include <MNN/Tensor.hpp>

enum MNNForwardType {
    MNN_FORWARD_CPU = 0,
    MNN_FORWARD_METAL = 1,
    MNN_FORWARD_CUDA = 2,
    MNN_FORWARD_OPENCL = 3,
    MNN_FORWARD_VULKAN = 7
};

namespace MNN {

enum ErrorCode { NO_ERROR = 0 };

struct BackendConfig {
    enum MemoryMode { Memory_Normal = 0 };
    enum PowerMode { Power_Normal = 0 };
    enum PrecisionMode { Precision_Normal = 0, Precision_High, Precision_Low };
    MemoryMode memory = Memory_Normal;
    PowerMode power = Power_Normal;
    PrecisionMode precision = Precision_Normal;
    void *context = nullptr;
};

struct ScheduleConfig {
    std::vector<std::string> saveTensors;
    MNNForwardType type = MNN_FORWARD_CPU;
    int numThread = 4;
    struct Path {
        std::vector<std::string> inputs;
        std::vector<std::string> outputs;
        int mode = 0;
    } path;
    MNNForwardType backupType = MNN_FORWARD_CPU;
    BackendConfig *backendConfig = nullptr;
};

class Session;
struct Content;

class Interpreter {
public:
    enum HintMode { WINOGRAD_MEMORY_LEVEL = 3 };

    static Interpreter *createFromFile(const char *file);
    ~Interpreter();
    void setSessionHint(HintMode mode, int value);
    Session *createSession(const ScheduleConfig &config);
    Tensor *getSessionInput(const Session *session, const char *name);
    Tensor *getSessionOutput(const Session *session, const char *name);
    ErrorCode runSession(Session *session) const;

private:
    Interpreter(Content *content);
    Content *content_;
};

} // namespace MNN

#endif
