/**
 * @brief The network on TensorFlow Lite Micro.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "network.h"

#include "model.h"
#include "operators.h"
#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

// Where the arena lies: for instance __attribute__((section(".psram"))) for external memory.
#ifndef MODEL_ARENA_ATTRIBUTE
#define MODEL_ARENA_ATTRIBUTE
#endif

namespace {

MODEL_ARENA_ATTRIBUTE alignas(16) uint8_t arena[model::arena_bytes];
tflite::MicroInterpreter *interpreter = nullptr;

/** Elements of a tensor of the type that the model has. */
std::size_t count(const TfLiteTensor *tensor)
{
    return model::type == EP_INT8 ? tensor->bytes : tensor->bytes / sizeof(float);
}

bool is_expected(const TfLiteTensor *tensor, std::size_t elements)
{
    const TfLiteType wanted = model::type == EP_INT8 ? kTfLiteInt8 : kTfLiteFloat32;
    return tensor != nullptr && tensor->type == wanted && count(tensor) == elements;
}

}  // namespace

namespace network {

bool init()
{
    static operators::Resolver resolver;

    tflite::InitializeTarget();
    const tflite::Model *loaded = tflite::GetModel(model::data);
    if (loaded->version() != TFLITE_SCHEMA_VERSION) {
        MicroPrintf("the model's schema is %d, not %d", static_cast<int>(loaded->version()),
                    TFLITE_SCHEMA_VERSION);
        return false;
    }
    if (operators::add(resolver) != kTfLiteOk) {
        MicroPrintf("an operator is missing in this build of the library");
        return false;
    }
    static tflite::MicroInterpreter loader(loaded, resolver, arena, sizeof(arena));
    interpreter = &loader;
    if (interpreter->AllocateTensors() != kTfLiteOk) {
        MicroPrintf("%d bytes are too few for the arena here: raise MODEL_ARENA_BYTES",
                    static_cast<int>(sizeof(arena)));
        return false;
    }
    bool fits = is_expected(interpreter->input(0), model::input_count);
    for (std::size_t i = 0; i < model::output_count; ++i) {
        const model::Output &wanted = model::outputs[i];
        const std::size_t elements = static_cast<std::size_t>(wanted.channels) *
                                     static_cast<std::size_t>(wanted.height * wanted.width);
        fits = fits && is_expected(interpreter->output(wanted.place), elements);
    }
    if (!fits) {
        MicroPrintf("model.h is about another model");
    }
    return fits;
}

ep_status fill(const ep_image &image, ep_frame *frame)
{
    const ep_status status =
        model::letterbox ? ep_letterbox(image.width, image.height, model::input_width,
                                        model::input_height, model::place, frame)
                         : ep_stretch(image.width, image.height, model::input_width,
                                      model::input_height, frame);
    if (status != EP_OK) {
        return status;
    }
    TfLiteTensor *tensor = interpreter->input(0);
    ep_input input = model::input;
    input.data = tensor->data.raw;
    input.count = count(tensor);
    return ep_fill_input(&image, frame, &input);
}

bool run()
{
    return interpreter->Invoke() == kTfLiteOk;
}

ep_tensor output(std::size_t index)
{
    const model::Output &wanted = model::outputs[index];
    const TfLiteTensor *tensor = interpreter->output(wanted.place);
    return {tensor->data.raw, count(tensor), model::type, EP_NHWC, wanted.channels, wanted.height,
            wanted.width, wanted.scale, wanted.zero_point};
}

std::size_t arena_used()
{
    return interpreter->arena_used_bytes();
}

}  // namespace network
