/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RESIZE_H
#define RESIZE_H

#include <vector>

#include "edge_post.h"
#include "image.h"

/** Float values, interleaved: height x width x channels. */
struct Planes {
    int width = 0;
    int height = 0;
    int channels = 0;
    std::vector<float> values;
};

/** An image in a network's colours: gray by BT.601 luminance, colour from gray by repetition. */
Planes to_planes(const Image &image, int channels, ep_order order);

/**
 * Bilinearly at another size, pixel centres at half-integers. Where it shrinks, the triangle is
 * widened by the factor, so that every pixel counts.
 */
Planes resized(const Planes &planes, int width, int height);

/** Rounded half to even, 0..255; in the order of the planes' channels. */
Image to_bytes(const Planes &planes);

#endif
