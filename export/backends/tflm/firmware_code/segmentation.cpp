/**
 * @brief A mask of the output's size, and how much of it each class covers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <cstdio>

#include "answer.h"
#include "model.h"
#include "network.h"

namespace {

constexpr std::size_t pixels = static_cast<std::size_t>(model::outputs[0].height) *
                               static_cast<std::size_t>(model::outputs[0].width);
uint8_t mask[pixels];  // ep_mask_to_image brings it to the image's size

}  // namespace

bool print_answer(const ep_frame &)
{
    const ep_tensor logits = network::output(0);
    if (ep_mask(&logits, model::score_threshold, mask, pixels) != EP_OK) {
        return false;
    }
    std::size_t counts[256] = {};
    for (std::size_t i = 0; i < pixels; ++i) {
        ++counts[mask[i]];
    }
    // One channel says where its only class is; several, which class each pixel has.
    const bool is_binary = model::outputs[0].channels == 1;
    for (int32_t i = 0; i < model::class_count; ++i) {
        std::printf("%s %.1f %%\n", model::classes[i],
                    100.0 * static_cast<double>(counts[is_binary ? i + 1 : i]) /
                        static_cast<double>(pixels));
    }
    return true;
}
