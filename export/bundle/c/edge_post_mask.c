/**
 * @file edge_post_mask.c
 * @brief Segmentation: from logits to masks of the map's or of the image's size.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <math.h>

#include "edge_post.h"
#include "edge_post_private.h"

#define MAX_CLASSES 256 /* a mask's pixel is a byte */

/** One axis of a frame: how an image's pixels lie in the input. */
typedef struct {
    int32_t image;
    int32_t input;
    int32_t pad;
    int32_t resized;
} axis;

static axis axis_x(const ep_frame *frame)
{
    axis result = {frame->image_width, frame->input_width, frame->x, frame->width};

    return result;
}

static axis axis_y(const ep_frame *frame)
{
    axis result = {frame->image_height, frame->input_height, frame->y, frame->height};

    return result;
}

/** The centre of an image's i-th pixel on a map of `size` pixels, in units of ::unit_of. */
static int64_t position_of(const axis *along, int32_t i, int32_t size)
{
    int64_t resized = ((2 * (int64_t)i) + 1) * along->resized;

    return (resized + (2 * (int64_t)along->pad * along->image)) * size;
}

static int64_t unit_of(const axis *along)
{
    return 2 * (int64_t)along->image * along->input;
}

static ep_status check_mask(const uint8_t *mask, size_t capacity, int32_t height, int32_t width)
{
    if (mask == NULL) {
        return EP_ERROR_NULL;
    }
    return ep_fits(capacity, 1, height, width) ? EP_OK : EP_ERROR_MEMORY;
}

static ep_status check_logits(const ep_tensor *logits, float threshold)
{
    ep_status status = ep_check_tensor(logits);

    if (status != EP_OK) {
        return status;
    }
    if (logits->channels > MAX_CLASSES) {
        return EP_ERROR_SHAPE;
    }
    if ((logits->channels == 1) && (!(threshold > 0.0f) || !(threshold < 1.0f))) {
        return EP_ERROR_ARGUMENT;
    }
    return EP_OK;
}

/** The logit that a pixel of one class must exceed. */
static float logit_of(float threshold)
{
    return (float)log((double)threshold / (1.0 - (double)threshold));
}

ep_status ep_mask(const ep_tensor *logits, float threshold, uint8_t *mask, size_t capacity)
{
    ep_status status = check_logits(logits, threshold);
    ep_steps steps;
    size_t places;
    size_t place;

    if (status == EP_OK) {
        status = check_mask(mask, capacity, logits->height, logits->width);
    }
    if (status != EP_OK) {
        return status;
    }
    steps = ep_steps_of(logits);
    places = ep_places(logits);
    if (logits->channels == 1) {
        ep_limit limit = ep_limit_of(logits, EP_PROBABILITIES, logit_of(threshold));
        for (place = 0u; place < places; place++) {
            mask[place] = ep_any_above(logits, place, 1u, 1, &limit) ? 1u : 0u;
        }
        return EP_OK;
    }
    for (place = 0u; place < places; place++) {
        size_t index = place * steps.place;
        float highest = -INFINITY;
        int32_t best = 0;
        int32_t c;
        for (c = 0; c < logits->channels; c++) {
            float value = ep_load(logits, index);
            if (value > highest) {
                highest = value;
                best = c;
            }
            index += steps.channel;
        }
        mask[place] = (uint8_t)best;
    }
    return EP_OK;
}

/** The map's pixel that is nearest to an image's pixel. */
static size_t nearest(const axis *along, int32_t i, int32_t size)
{
    int64_t found = position_of(along, i, size) / unit_of(along);

    return (size_t)((found < size) ? found : ((int64_t)size - 1));
}

ep_status ep_mask_to_image(const uint8_t *mask, int32_t width, int32_t height,
                           const ep_frame *frame, uint8_t *image_mask, size_t capacity)
{
    ep_status status = ep_check_frame(frame);
    size_t columns[EP_STRIP];
    axis across;
    axis along;
    int32_t x0;
    int32_t x;
    int32_t y;

    if (status != EP_OK) {
        return status;
    }
    if (mask == NULL) {
        return EP_ERROR_NULL;
    }
    if ((width < 1) || (height < 1) || (width > EP_MAX_SIZE) || (height > EP_MAX_SIZE)) {
        return EP_ERROR_ARGUMENT;
    }
    status = check_mask(image_mask, capacity, frame->image_height, frame->image_width);
    if (status != EP_OK) {
        return status;
    }
    across = axis_x(frame);
    along = axis_y(frame);
    for (x0 = 0; x0 < frame->image_width; x0 += EP_STRIP) {
        int32_t n = frame->image_width - x0;
        n = (n < EP_STRIP) ? n : EP_STRIP;
        for (x = 0; x < n; x++) {
            columns[x] = nearest(&across, x0 + x, width);
        }
        for (y = 0; y < frame->image_height; y++) {
            const uint8_t *row = &mask[nearest(&along, y, height) * (size_t)width];
            uint8_t *out = &image_mask[((size_t)y * (size_t)frame->image_width) + (size_t)x0];
            for (x = 0; x < n; x++) {
                out[x] = row[columns[x]];
            }
        }
    }
    return EP_OK;
}

/** The value of one channel between four pixels; `base` is the channel's first element. */
static float interpolate(const ep_tensor *logits, size_t base, size_t place_step,
                         const ep_tap *tap_x, const ep_tap *tap_y)
{
    size_t upper = (size_t)tap_y->low * (size_t)logits->width;
    size_t lower = (size_t)tap_y->high * (size_t)logits->width;
    size_t left = (size_t)tap_x->low;
    size_t right = (size_t)tap_x->high;
    float rest = 1.0f - tap_y->weight;
    float west = (rest * ep_load(logits, base + ((upper + left) * place_step))) +
                 (tap_y->weight * ep_load(logits, base + ((lower + left) * place_step)));
    float east = (rest * ep_load(logits, base + ((upper + right) * place_step))) +
                 (tap_y->weight * ep_load(logits, base + ((lower + right) * place_step)));

    return ((1.0f - tap_x->weight) * west) + (tap_x->weight * east);
}

ep_status ep_logits_to_image_mask(const ep_tensor *logits, float threshold, const ep_frame *frame,
                                  uint8_t *image_mask, size_t capacity)
{
    ep_status status = check_logits(logits, threshold);
    ep_tap taps[EP_STRIP];
    ep_steps steps;
    axis across;
    axis along;
    float start;
    int32_t x0;
    int32_t x;
    int32_t y;
    int32_t c;

    if (status == EP_OK) {
        status = ep_check_frame(frame);
    }
    if (status == EP_OK) {
        status = check_mask(image_mask, capacity, frame->image_height, frame->image_width);
    }
    if (status != EP_OK) {
        return status;
    }
    steps = ep_steps_of(logits);
    across = axis_x(frame);
    along = axis_y(frame);
    start = (logits->channels == 1) ? logit_of(threshold) : -INFINITY;
    for (x0 = 0; x0 < frame->image_width; x0 += EP_STRIP) {
        int32_t n = frame->image_width - x0;
        n = (n < EP_STRIP) ? n : EP_STRIP;
        for (x = 0; x < n; x++) {
            taps[x] = ep_tap_at(position_of(&across, x0 + x, logits->width), unit_of(&across),
                                logits->width);
        }
        for (y = 0; y < frame->image_height; y++) {
            ep_tap tap_y = ep_tap_at(position_of(&along, y, logits->height), unit_of(&along),
                                     logits->height);
            uint8_t *out = &image_mask[((size_t)y * (size_t)frame->image_width) + (size_t)x0];
            for (x = 0; x < n; x++) {
                float highest = start;
                int32_t best = 0;
                for (c = 0; c < logits->channels; c++) {
                    float value = interpolate(logits, (size_t)c * steps.channel, steps.place,
                                              &taps[x], &tap_y);
                    if (value > highest) {
                        highest = value;
                        best = (logits->channels == 1) ? 1 : c;
                    }
                }
                out[x] = (uint8_t)best;
            }
        }
    }
    return EP_OK;
}
