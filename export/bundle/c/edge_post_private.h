/**
 * @file edge_post_private.h
 * @brief What the library's sources share. Not for programs: include edge_post.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EDGE_POST_PRIVATE_H
#define EDGE_POST_PRIVATE_H

#include <stdbool.h>

#include "edge_post.h"

/** Columns that are resized at once: bounds the stack, spares a division per pixel. */
#define EP_STRIP 64

/** The two source pixels of a bilinear sample along one axis; `weight` (0..1) is the second's. */
typedef struct {
    int32_t low;
    int32_t high;
    float weight;
} ep_tap;

/** A threshold in a tensor's own numbers: an integer is above it from `integer` on. */
typedef struct {
    int32_t integer;
    float real; /* a little below the exact one: what passes is checked again */
} ep_limit;

/** Elements from one channel to the next at a place, and from one place to the next. */
typedef struct {
    size_t channel;
    size_t place;
} ep_steps;

/** Whether a number lies in 0..1; NaN does not. */
bool ep_is_fraction(float value);

/** Whether a width, a height or a number of channels is in 1 .. EP_MAX_SIZE. */
bool ep_is_size(int32_t size);

/** Whether a tensor can be read safely. */
ep_status ep_check_tensor(const ep_tensor *tensor);

/** Whether a buffer of `count` elements can hold the shape. */
bool ep_fits(size_t count, int32_t channels, int32_t height, int32_t width);

/** Whether a frame could come from ::ep_letterbox: the image lies inside the input. */
ep_status ep_check_frame(const ep_frame *frame);

/** Whether a pointer is aligned for elements of a type. */
bool ep_is_aligned(const void *data, ep_type type);

ep_steps ep_steps_of(const ep_tensor *tensor);

/** Height times width. */
size_t ep_places(const ep_tensor *tensor);

/** The real value of the element at an index. */
float ep_load(const ep_tensor *tensor, size_t index);

/** A raw score as a probability; NaN stays NaN. */
float ep_probability(float raw, ep_scores scores);

/** The limit above which a raw score's probability can exceed the threshold. */
ep_limit ep_limit_of(const ep_tensor *tensor, ep_scores scores, float threshold);

/** Whether any of n elements, `step` apart from `index` on, is above a limit. */
bool ep_any_above(const ep_tensor *tensor, size_t index, size_t step, int32_t n,
                  const ep_limit *limit);

/** The sample at `position / unit - 0.5` pixels of an axis of `size` pixels. */
ep_tap ep_tap_at(int64_t position, int64_t unit, int32_t size);

/** Whether candidates have been initialised. */
ep_status ep_check_candidates(const ep_candidates *found);

#endif
