/* Part of a stand-in of TensorFlow Lite Micro's documented interface: see micro_interpreter.h.
 *
 * A method for each operator of the zoo's networks; a name that the library spells otherwise does not
 * compile.
 */
#pragma once

#include <set>
#include <string>

#include "tensorflow/lite/c/common.h"

namespace tflite {

class MicroOpResolver {
public:
    std::set<std::string> operators;
};

#define STAND_IN_OPERATOR(name)                                         \
    TfLiteStatus Add##name()                                            \
    {                                                                   \
        const bool is_new = operators.insert(#name).second;             \
        return is_new && operators.size() <= most ? kTfLiteOk : kTfLiteError; \
    }

template <unsigned int most>
class MicroMutableOpResolver : public MicroOpResolver {
public:
    STAND_IN_OPERATOR(Add)
    STAND_IN_OPERATOR(AveragePool2D)
    STAND_IN_OPERATOR(Concatenation)
    STAND_IN_OPERATOR(Conv2D)
    STAND_IN_OPERATOR(DepthwiseConv2D)
    STAND_IN_OPERATOR(Dequantize)
    STAND_IN_OPERATOR(FullyConnected)
    STAND_IN_OPERATOR(HardSwish)
    STAND_IN_OPERATOR(LeakyRelu)
    STAND_IN_OPERATOR(Logistic)
    STAND_IN_OPERATOR(MaxPool2D)
    STAND_IN_OPERATOR(Mean)
    STAND_IN_OPERATOR(Mul)
    STAND_IN_OPERATOR(Pad)
    STAND_IN_OPERATOR(PadV2)
    STAND_IN_OPERATOR(Quantize)
    STAND_IN_OPERATOR(Relu)
    STAND_IN_OPERATOR(Relu6)
    STAND_IN_OPERATOR(Reshape)
    STAND_IN_OPERATOR(ResizeBilinear)
    STAND_IN_OPERATOR(ResizeNearestNeighbor)
    STAND_IN_OPERATOR(Softmax)
    STAND_IN_OPERATOR(Split)
    STAND_IN_OPERATOR(SplitV)
    STAND_IN_OPERATOR(StridedSlice)
    STAND_IN_OPERATOR(Sub)
    STAND_IN_OPERATOR(Sum)
    STAND_IN_OPERATOR(Tanh)
    STAND_IN_OPERATOR(Transpose)
    STAND_IN_OPERATOR(TransposeConv)
};

}  // namespace tflite
