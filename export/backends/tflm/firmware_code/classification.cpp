/**
 * @brief The likeliest classes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <cstdio>

#include "answer.h"
#include "model.h"
#include "network.h"

bool print_answer(const ep_frame &)
{
    constexpr int32_t k = model::class_count < 3 ? model::class_count : 3;
    const ep_tensor logits = network::output(0);
    ep_class best[k];
    int32_t found = 0;
    if (ep_top_k(&logits, k, best, &found) != EP_OK) {
        return false;
    }
    for (int32_t i = 0; i < found; ++i) {
        std::printf("%s %.1f %%\n", model::classes[best[i].index],
                    100.0 * static_cast<double>(best[i].score));
    }
    return true;
}
