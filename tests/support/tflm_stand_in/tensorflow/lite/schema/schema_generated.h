/* Part of a stand-in of TensorFlow Lite Micro's documented interface: see micro/micro_interpreter.h. */
#pragma once

namespace tflite {

struct Model {
    int version() const { return 3; }
};

inline const Model *GetModel(const void *data) { return static_cast<const Model *>(data); }

}  // namespace tflite
