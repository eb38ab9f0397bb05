/**
 * @brief Is the board right? The golden inputs, run here, beside the export's own answers.
 *
 * Prints a line an output and ends with status 0 where all are within the tolerance.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <cmath>
#include <cstdio>

#include "golden.h"
#include "model.h"
#include "network.h"

namespace {

float value(const void *data, std::size_t i, const ep_tensor &tensor)
{
    return tensor.type == EP_INT8
               ? static_cast<float>(static_cast<const int8_t *>(data)[i] - tensor.zero_point) *
                     tensor.scale
               : static_cast<const float *>(data)[i];
}

}  // namespace

int main()
{
    if (!network::init()) {
        return 2;
    }
    float errors[model::output_count] = {}, peaks[model::output_count] = {};
    for (std::size_t n = 0; n < golden::count; ++n) {
        const ep_image image = golden::image(n);
        ep_frame frame;
        if (network::fill(image, &frame) != EP_OK || !network::run()) {
            std::printf("the network does not run\n");
            return 2;
        }
        for (std::size_t i = 0; i < model::output_count; ++i) {
            const ep_tensor found = network::output(i);
            const void *wanted = golden::answer(n, i);
            for (std::size_t k = 0; k < found.count; ++k) {
                const float right = value(wanted, k, found);
                const float error = std::fabs(value(found.data, k, found) - right);
                errors[i] = error <= errors[i] ? errors[i] : error;  // NaN stays
                peaks[i] = std::fabs(right) > peaks[i] ? std::fabs(right) : peaks[i];
            }
        }
    }
    bool is_right = true;
    for (std::size_t i = 0; i < model::output_count; ++i) {
        const float allowed = golden::tolerance * (peaks[i] > 1.0f ? peaks[i] : 1.0f);
        is_right = is_right && errors[i] <= allowed;
        std::printf("output %d: differs by %.3g at most, %.3g is allowed\n", static_cast<int>(i),
                    static_cast<double>(errors[i]), static_cast<double>(allowed));
    }
    std::printf("%d golden inputs, arena %d of %d bytes: %s\n", static_cast<int>(golden::count),
                static_cast<int>(network::arena_used()), static_cast<int>(model::arena_bytes),
                is_right ? "as the export answered" : "NOT as the export answered");
    return is_right ? 0 : 1;
}
