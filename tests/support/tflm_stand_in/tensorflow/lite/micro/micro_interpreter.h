/* A stand-in of TensorFlow Lite Micro's documented interface, for tests of generated firmware.
 *
 * It computes nothing. The file $TFLM_RECORD says what the real interpreter did: the model's bytes,
 * the arena that it needed, the operators, and pairs of inputs and outputs. Invoke() answers as it did
 * to the same input; another model, arena, set of operators or input is an error.
 */
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

#define TFLITE_SCHEMA_VERSION (3)

namespace tflite {

class MicroInterpreter {
public:
    MicroInterpreter(const Model *model, const MicroOpResolver &resolver, uint8_t *arena,
                     std::size_t arena_size)
        : model_(reinterpret_cast<const char *>(model)), resolver_(resolver), arena_(arena),
          arena_size_(arena_size)
    {
    }

    TfLiteStatus AllocateTensors()
    {
        std::ifstream file(std::getenv("TFLM_RECORD"), std::ios::binary);
        std::string line, name, path;
        std::size_t operators = 0, outputs = 0;
        std::vector<std::size_t> output_bytes;
        std::getline(file, line);
        std::istringstream head(line);
        int type = 0;
        head >> needed_ >> type >> input_bytes_ >> cases_ >> operators >> outputs;
        bool known = true;
        for (std::size_t i = 0; i < operators; ++i) {
            head >> name;
            known = known && resolver_.operators.count(name) == 1;
        }
        for (std::size_t i = 0; i < outputs; ++i) {
            std::size_t bytes = 0;
            head >> bytes;
            output_bytes.push_back(bytes);
        }
        std::getline(file, path);
        std::ifstream wanted(path, std::ios::binary);
        const std::string content((std::istreambuf_iterator<char>(wanted)), {});
        record_.assign(std::istreambuf_iterator<char>(file), {});
        if (!known || resolver_.operators.size() != operators) {
            std::fprintf(stderr, "other operators\n");
            return kTfLiteError;
        }
        if (std::memcmp(model_, content.data(), content.size()) != 0) {
            std::fprintf(stderr, "another model\n");
            return kTfLiteError;
        }
        if (reinterpret_cast<std::uintptr_t>(arena_) % 16 != 0 || arena_size_ < needed_) {
            std::fprintf(stderr, "Failed to resize buffer\n");
            return kTfLiteError;
        }
        for (std::size_t i = 0; i <= outputs; ++i) {
            const std::size_t bytes = i == 0 ? input_bytes_ : output_bytes[i - 1];
            values_.emplace_back(bytes);
            tensors_.push_back({static_cast<TfLiteType>(type), {}, bytes});
            case_bytes_ += bytes;
        }
        for (std::size_t i = 0; i <= outputs; ++i) {
            tensors_[i].data.raw = values_[i].data();
        }
        return kTfLiteOk;
    }

    TfLiteTensor *input(std::size_t index) { return index == 0 ? &tensors_[0] : nullptr; }

    TfLiteTensor *output(std::size_t index)
    {
        return index + 1 < tensors_.size() ? &tensors_[index + 1] : nullptr;
    }

    TfLiteStatus Invoke()
    {
        for (std::size_t n = 0; n < cases_; ++n) {
            const char *here = record_.data() + n * case_bytes_;
            if (std::memcmp(here, tensors_[0].data.raw, input_bytes_) != 0) {
                continue;
            }
            here += input_bytes_;
            for (std::size_t i = 1; i < tensors_.size(); ++i) {
                std::memcpy(tensors_[i].data.raw, here, tensors_[i].bytes);
                here += tensors_[i].bytes;
            }
            return kTfLiteOk;
        }
        std::fprintf(stderr, "an input that the interpreter was never given\n");
        return kTfLiteError;
    }

    std::size_t arena_used_bytes() const { return needed_; }

private:
    const char *model_;
    const MicroOpResolver &resolver_;
    uint8_t *arena_;
    std::size_t arena_size_, needed_ = 0, input_bytes_ = 0, cases_ = 0, case_bytes_ = 0;
    std::string record_;
    std::vector<std::vector<char>> values_;
    std::vector<TfLiteTensor> tensors_;
};

}  // namespace tflite
