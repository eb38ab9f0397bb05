/**
 * @file edge_post_image.c
 * @brief From an image to a network's input.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <math.h>

#include "edge_post.h"
#include "edge_post_private.h"

#define WEIGHT_BITS 11
#define ONE (1u << WEIGHT_BITS)    /* a weight of 1 */
#define SUM_BITS (2 * WEIGHT_BITS) /* of a pixel times two weights: below 2^30 */
#define HALF (1u << (SUM_BITS - 1))
#define LUMA_BITS 16
#define LUMINANCE (-1) /* in place of a channel */

static const uint32_t luma[3] = {19595u, 38470u, 7471u}; /* BT.601, in 1 / 65536 */

/** How one channel of the input is filled. */
typedef struct {
    const ep_image *image;
    const ep_frame *frame;
    const ep_input *input;
    int32_t source;    /* the image's channel, or LUMINANCE of all three */
    size_t first;      /* index of the channel's first element */
    size_t pixel_step; /* from one element to the next */
    float values[256]; /* what the input takes for each pixel value */
} plane;

ep_tap ep_tap_at(int64_t position, int64_t unit, int32_t size)
{
    /* Everything twice, so that the half pixel is an integer. */
    int64_t numerator = (2 * position) - unit;
    int64_t denominator = 2 * unit;
    ep_tap tap = {0, 0, 0.0f};

    if (numerator > 0) {
        int64_t low = numerator / denominator;
        if (low >= ((int64_t)size - 1)) {
            tap.low = size - 1;
            tap.high = size - 1;
        } else {
            tap.low = (int32_t)low;
            tap.high = tap.low + 1;
            tap.weight = (float)(numerator % denominator) / (float)denominator;
        }
    }
    return tap;
}

/** The source pixels of the i-th of `resized` pixels. */
static ep_tap tap_of(int32_t i, int32_t size, int32_t resized)
{
    return ep_tap_at(((2 * (int64_t)i) + 1) * size, 2 * (int64_t)resized, size);
}

static uint32_t fixed(float weight)
{
    return (uint32_t)((weight * (float)ONE) + 0.5f);
}

/** What an input takes for a pixel value: see ::ep_input. */
static float converted(const ep_input *input, int32_t channel, int32_t pixel)
{
    const float low = (input->type == EP_INT8) ? (float)INT8_MIN : 0.0f;
    const float high = (input->type == EP_INT8) ? (float)INT8_MAX : (float)UINT8_MAX;
    float value = (float)pixel;

    if ((input->type == EP_UINT8) && !(input->scale > 0.0f)) {
        return value;
    }
    value = (value - input->mean[channel]) / input->deviation[channel];
    if (input->type != EP_FLOAT32) {
        value = rintf(value / input->scale) + (float)input->zero_point;
        value = (value > low) ? value : low;
        value = (value < high) ? value : high;
    }
    return value;
}

static void store(const plane *work, size_t index, uint32_t pixel)
{
    const float value = work->values[pixel];

    switch (work->input->type) {
    case EP_INT8:
        ((int8_t *)work->input->data)[index] = (int8_t)value;
        break;
    case EP_UINT8:
        ((uint8_t *)work->input->data)[index] = (uint8_t)value;
        break;
    case EP_FLOAT32:
    default:
        ((float *)work->input->data)[index] = value;
        break;
    }
}

/** Index of a pixel of the plane. */
static size_t index_of(const plane *work, int32_t x, int32_t y)
{
    size_t pixel = ((size_t)y * (size_t)work->frame->input_width) + (size_t)x;

    return work->first + (pixel * work->pixel_step);
}

/** Between four pixels, times ONE * ONE; `across` weighs the right ones, `along` the lower. */
static uint32_t interpolated(const uint8_t *upper, const uint8_t *lower, size_t left, size_t right,
                             uint32_t across, uint32_t along)
{
    uint32_t above = ((ONE - across) * upper[left]) + (across * upper[right]);
    uint32_t below = ((ONE - across) * lower[left]) + (across * lower[right]);

    return ((ONE - along) * above) + (along * below);
}

/** Resize the columns x0 .. x0 + n - 1 of the image in its frame; n is at most EP_STRIP. */
static void resize_strip(const plane *work, int32_t x0, int32_t n)
{
    const ep_image *image = work->image;
    const ep_frame *frame = work->frame;
    const bool is_luminance = work->source == LUMINANCE;
    const size_t offset = is_luminance ? 0u : (size_t)work->source;
    size_t left[EP_STRIP];
    size_t right[EP_STRIP];
    uint32_t across[EP_STRIP];
    int32_t x;
    int32_t y;
    size_t c;

    for (x = 0; x < n; x++) {
        ep_tap tap = tap_of(x0 + x, image->width, frame->width);
        left[x] = ((size_t)tap.low * (size_t)image->channels) + offset;
        right[x] = ((size_t)tap.high * (size_t)image->channels) + offset;
        across[x] = fixed(tap.weight);
    }
    for (y = 0; y < frame->height; y++) {
        ep_tap tap = tap_of(y, image->height, frame->height);
        const uint8_t *upper = &image->pixels[(size_t)tap.low * image->row_bytes];
        const uint8_t *lower = &image->pixels[(size_t)tap.high * image->row_bytes];
        const uint32_t along = fixed(tap.weight);
        size_t index = index_of(work, frame->x + x0, frame->y + y);
        for (x = 0; x < n; x++) {
            if (is_luminance) {
                uint64_t gray = (uint64_t)HALF << LUMA_BITS;
                for (c = 0u; c < 3u; c++) {
                    uint32_t weight = luma[(image->order == EP_RGB) ? c : (2u - c)];
                    gray += (uint64_t)weight * interpolated(upper, lower, left[x] + c,
                                                            right[x] + c, across[x], along);
                }
                store(work, index, (uint32_t)(gray >> (SUM_BITS + LUMA_BITS)));
            } else {
                uint32_t sum =
                    interpolated(upper, lower, left[x], right[x], across[x], along);
                store(work, index, (sum + HALF) >> SUM_BITS);
            }
            index += work->pixel_step;
        }
    }
}

/** Fill the columns from x0 up to x1 of the rows from y0 up to y1. */
static void fill(const plane *work, int32_t x0, int32_t x1, int32_t y0, int32_t y1)
{
    int32_t y;
    int32_t x;

    for (y = y0; y < y1; y++) {
        size_t index = index_of(work, x0, y);
        for (x = x0; x < x1; x++) {
            store(work, index, work->input->fill);
            index += work->pixel_step;
        }
    }
}

/** The image's channel that goes into a channel of the input. */
static int32_t source_of(const ep_image *image, const ep_input *input, int32_t channel)
{
    int32_t source = channel;

    if (image->channels == 1) {
        source = 0;
    } else if (input->channels == 1) {
        source = LUMINANCE;
    } else if (image->order != input->order) {
        source = 2 - channel;
    } else {
        /* the same order */
    }
    return source;
}

static void fill_plane(plane *work, int32_t channel)
{
    const ep_frame *frame = work->frame;
    const ep_input *input = work->input;
    const int32_t right = frame->x + frame->width;
    const int32_t bottom = frame->y + frame->height;
    int32_t i;

    work->source = source_of(work->image, input, channel);
    work->first = (size_t)channel;
    work->pixel_step = (size_t)input->channels;
    if (input->layout == EP_NCHW) {
        work->first *= (size_t)frame->input_width * (size_t)frame->input_height;
        work->pixel_step = 1u;
    }
    for (i = 0; i < 256; i++) {
        work->values[i] = converted(input, channel, i);
    }
    fill(work, 0, frame->input_width, 0, frame->y);
    fill(work, 0, frame->x, frame->y, bottom);
    fill(work, right, frame->input_width, frame->y, bottom);
    fill(work, 0, frame->input_width, bottom, frame->input_height);
    for (i = 0; i < frame->width; i += EP_STRIP) {
        int32_t rest = frame->width - i;
        resize_strip(work, i, (rest < EP_STRIP) ? rest : EP_STRIP);
    }
}

static ep_status check_image(const ep_image *image, const ep_frame *frame)
{
    size_t row;

    if (image->pixels == NULL) {
        return EP_ERROR_NULL;
    }
    if (((image->channels != 1) && (image->channels != 3)) ||
        ((image->order != EP_RGB) && (image->order != EP_BGR))) {
        return EP_ERROR_ARGUMENT;
    }
    if ((image->width != frame->image_width) || (image->height != frame->image_height)) {
        return EP_ERROR_SHAPE;
    }
    row = (size_t)image->width * (size_t)image->channels;
    if ((image->row_bytes < row) || (image->bytes < row) ||
        ((image->height > 1) &&
         (((image->bytes - row) / ((size_t)image->height - 1u)) < image->row_bytes))) {
        return EP_ERROR_MEMORY;
    }
    return EP_OK;
}

/** Whether mean and deviation, scale and zero point make sense. */
static bool are_numbers_valid(const ep_input *input)
{
    bool valid = true;
    int32_t c;

    if ((input->type != EP_UINT8) || (input->scale > 0.0f)) {
        for (c = 0; c < input->channels; c++) {
            valid = valid && isfinite(input->mean[c]) && isfinite(input->deviation[c]) &&
                    ((input->deviation[c] > 0.0f) || (input->deviation[c] < 0.0f));
        }
    }
    if (input->type == EP_INT8) {
        valid = valid && (input->zero_point >= INT8_MIN) && (input->zero_point <= INT8_MAX);
        valid = valid && (input->scale > 0.0f) && isfinite(input->scale);
    }
    if (input->type == EP_UINT8) {
        valid = valid && (input->zero_point >= 0) && (input->zero_point <= UINT8_MAX);
        valid = valid && (input->scale >= 0.0f) && isfinite(input->scale);
    }
    return valid;
}

static ep_status check_input(const ep_input *input, const ep_frame *frame)
{
    if (input->data == NULL) {
        return EP_ERROR_NULL;
    }
    if (((input->channels != 1) && (input->channels != 3)) ||
        ((input->order != EP_RGB) && (input->order != EP_BGR)) ||
        ((input->layout != EP_NCHW) && (input->layout != EP_NHWC)) ||
        ((input->type != EP_FLOAT32) && (input->type != EP_INT8) && (input->type != EP_UINT8)) ||
        !are_numbers_valid(input)) {
        return EP_ERROR_ARGUMENT;
    }
    if (!ep_fits(input->count, input->channels, frame->input_height, frame->input_width) ||
        !ep_is_aligned(input->data, input->type)) {
        return EP_ERROR_MEMORY;
    }
    return EP_OK;
}

ep_status ep_fill_input(const ep_image *image, const ep_frame *frame, const ep_input *input)
{
    ep_status status = ep_check_frame(frame);
    plane work;
    int32_t channel;

    if (status != EP_OK) {
        return status;
    }
    if ((image == NULL) || (input == NULL)) {
        return EP_ERROR_NULL;
    }
    status = check_image(image, frame);
    if (status == EP_OK) {
        status = check_input(input, frame);
    }
    if (status != EP_OK) {
        return status;
    }
    work.image = image;
    work.frame = frame;
    work.input = input;
    for (channel = 0; channel < input->channels; channel++) {
        fill_plane(&work, channel);
    }
    return EP_OK;
}
