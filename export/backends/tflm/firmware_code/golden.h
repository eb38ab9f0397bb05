/**
 * @brief Real inputs and what the export answered to them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#pragma once

#include <cstddef>

#include "edge_post.h"

namespace golden {

extern const std::size_t count;

/** Of the largest magnitude of an output, at least 1: what another processor may round. */
extern const float tolerance;

/** An input of the network's own size. */
ep_image image(std::size_t n);

/** The answer to it: numbers of the network's type, as an output lies in memory. */
const void *answer(std::size_t n, std::size_t output);

}  // namespace golden
