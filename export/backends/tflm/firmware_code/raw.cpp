/**
 * @brief Outputs without a known meaning: the first numbers of each. Put the meaning here.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <cstdio>

#include "answer.h"
#include "model.h"
#include "network.h"

namespace {

double value(const ep_tensor &tensor, std::size_t i)
{
    return tensor.type == EP_INT8
               ? static_cast<double>(static_cast<const int8_t *>(tensor.data)[i] -
                                     tensor.zero_point) *
                     static_cast<double>(tensor.scale)
               : static_cast<double>(static_cast<const float *>(tensor.data)[i]);
}

}  // namespace

bool print_answer(const ep_frame &)
{
    for (std::size_t index = 0; index < model::output_count; ++index) {
        const ep_tensor tensor = network::output(index);
        std::printf("output %d:", static_cast<int>(index));
        for (std::size_t i = 0; i < tensor.count && i < 8; ++i) {
            std::printf(" %.4g", value(tensor, i));
        }
        std::printf("\n");
    }
    return true;
}
