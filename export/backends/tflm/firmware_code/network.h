/**
 * @brief The network on TensorFlow Lite Micro: fill the input, run, read the outputs.
 *
 * Memory is static: the arena (model::arena_bytes) and nothing else of note. One network a program.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#pragma once

#include <cstddef>

#include "edge_post.h"

namespace network {

/** Load the model; false, with a line in the log, where it cannot run here. Call it once. */
bool init();

/**
 * Resize an image into the input, normalise and quantise it.
 *
 * @param image of any size: interleaved gray, RGB or BGR bytes.
 * @param frame receives where the image lies in the input; results are brought back by it.
 */
ep_status fill(const ep_image &image, ep_frame *frame);

/** Compute the outputs of the filled input. */
bool run();

/** An output in the network's order; valid until the next fill() or run(). */
ep_tensor output(std::size_t index);

/** What the arena needed on this machine; after init(). */
std::size_t arena_used();

}  // namespace network
