/**
 * @brief The outputs' meaning, printed: classes, boxes or a mask.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#pragma once

#include "edge_post.h"

/** Print the answer to the last run of the network; false where the outputs do not fit. */
bool print_answer(const ep_frame &frame);
