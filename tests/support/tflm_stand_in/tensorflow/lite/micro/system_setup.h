/* Part of a stand-in of TensorFlow Lite Micro's documented interface: see micro_interpreter.h. */
#pragma once

namespace tflite {

inline void InitializeTarget() {}

}  // namespace tflite
