/**
 * @file edge_post_frame.c
 * @brief Where an image lies in a network's input, and boxes back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <math.h>

#include "edge_post.h"
#include "edge_post_private.h"

ep_status ep_stretch(int32_t image_width, int32_t image_height, int32_t input_width,
                     int32_t input_height, ep_frame *frame)
{
    if (frame == NULL) {
        return EP_ERROR_NULL;
    }
    if (!ep_is_size(image_width) || !ep_is_size(image_height) || !ep_is_size(input_width) ||
        !ep_is_size(input_height)) {
        return EP_ERROR_ARGUMENT;
    }
    frame->image_width = image_width;
    frame->image_height = image_height;
    frame->input_width = input_width;
    frame->input_height = input_height;
    frame->x = 0;
    frame->y = 0;
    frame->width = input_width;
    frame->height = input_height;
    return EP_OK;
}

/** A side at a ratio, in whole pixels; in double, as the Python reference computes it. */
static int32_t scaled(int32_t side, double ratio)
{
    double rounded = rint((double)side * ratio);

    return (rounded < 1.0) ? 1 : (int32_t)rounded;
}

ep_status ep_letterbox(int32_t image_width, int32_t image_height, int32_t input_width,
                       int32_t input_height, ep_place place, ep_frame *frame)
{
    ep_status status;
    double across;
    double along;
    double ratio;

    if ((place != EP_CENTRED) && (place != EP_CORNER)) {
        return EP_ERROR_ARGUMENT;
    }
    status = ep_stretch(image_width, image_height, input_width, input_height, frame);
    if (status != EP_OK) {
        return status;
    }
    across = (double)input_width / (double)image_width;
    along = (double)input_height / (double)image_height;
    ratio = (across < along) ? across : along;
    frame->width = scaled(image_width, ratio);
    frame->height = scaled(image_height, ratio);
    if (place == EP_CENTRED) {
        frame->x = (input_width - frame->width) / 2;
        frame->y = (input_height - frame->height) / 2;
    }
    return EP_OK;
}

ep_status ep_check_frame(const ep_frame *frame)
{
    if (frame == NULL) {
        return EP_ERROR_NULL;
    }
    if (!ep_is_size(frame->image_width) || !ep_is_size(frame->image_height) ||
        !ep_is_size(frame->input_width) || !ep_is_size(frame->input_height) || (frame->x < 0) ||
        (frame->y < 0) || !ep_is_size(frame->width) || !ep_is_size(frame->height)) {
        return EP_ERROR_ARGUMENT;
    }
    if ((frame->width > frame->input_width) || (frame->height > frame->input_height) ||
        (frame->x > (frame->input_width - frame->width)) ||
        (frame->y > (frame->input_height - frame->height))) {
        return EP_ERROR_SHAPE;
    }
    return EP_OK;
}

static double clipped(double value, double low, double high)
{
    double result = value;

    if (value < low) {
        result = low;
    } else if (value > high) {
        result = high;
    } else {
        /* inside, or NaN */
    }
    return result;
}

ep_status ep_boxes_to_image(const ep_frame *frame, ep_candidates *found)
{
    ep_status status = ep_check_frame(frame);
    double across;
    double along;
    uint32_t kept = 0u;
    uint32_t i;

    if (status == EP_OK) {
        status = ep_check_candidates(found);
    }
    if (status != EP_OK) {
        return status;
    }
    across = (double)frame->width / (double)frame->image_width;
    along = (double)frame->height / (double)frame->image_height;
    for (i = 0u; i < found->count; i++) {
        ep_box box = found->boxes[i];
        double x1 = clipped(((double)box.x1 - frame->x) / across, 0.0, frame->image_width);
        double y1 = clipped(((double)box.y1 - frame->y) / along, 0.0, frame->image_height);
        double x2 = clipped(((double)box.x2 - frame->x) / across, 0.0, frame->image_width);
        double y2 = clipped(((double)box.y2 - frame->y) / along, 0.0, frame->image_height);
        if ((x2 > x1) && (y2 > y1)) {
            box.x1 = (float)x1;
            box.y1 = (float)y1;
            box.x2 = (float)x2;
            box.y2 = (float)y2;
            found->boxes[kept] = box;
            kept++;
        }
    }
    found->count = kept;
    return EP_OK;
}
