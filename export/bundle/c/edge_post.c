/**
 * @file edge_post.c
 * @brief Reading tensors, and classification.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "edge_post.h"

#include <math.h>

#include "edge_post_private.h"

/* sigmoid(-80) is still a float32 above 0; exp(80) does not overflow. */
#define LOWEST_LOGIT (-80.0f)
#define LOWEST_PROBABILITY 1e-30f

const char *ep_status_text(ep_status status)
{
    const char *text = "unknown status";

    switch (status) {
    case EP_OK:
        text = "no error";
        break;
    case EP_ERROR_NULL:
        text = "a pointer is NULL";
        break;
    case EP_ERROR_ARGUMENT:
        text = "an argument is out of its range";
        break;
    case EP_ERROR_SHAPE:
        text = "shapes do not fit each other, the anchors or the number of classes";
        break;
    case EP_ERROR_MEMORY:
        text = "a buffer is too small, or not aligned for its type";
        break;
    default:
        break;
    }
    return text;
}

bool ep_is_fraction(float value)
{
    return (value >= 0.0f) && (value <= 1.0f);
}

bool ep_fits(size_t count, int32_t channels, int32_t height, int32_t width)
{
    uint64_t needed = (uint64_t)channels * (uint64_t)height * (uint64_t)width;

    return needed <= (uint64_t)count;
}

bool ep_is_aligned(const void *data, ep_type type)
{
    return (type != EP_FLOAT32) || (((uintptr_t)data % sizeof(float)) == 0u);
}

bool ep_is_size(int32_t size)
{
    return (size >= 1) && (size <= EP_MAX_SIZE);
}

/** The smallest and the largest integer of a quantised type. */
static void range_of(ep_type type, int32_t *low, int32_t *high)
{
    *low = (type == EP_INT8) ? INT8_MIN : 0;
    *high = (type == EP_INT8) ? INT8_MAX : UINT8_MAX;
}

ep_status ep_check_tensor(const ep_tensor *tensor)
{
    int32_t low;
    int32_t high;

    if ((tensor == NULL) || (tensor->data == NULL)) {
        return EP_ERROR_NULL;
    }
    if ((tensor->layout != EP_NCHW) && (tensor->layout != EP_NHWC)) {
        return EP_ERROR_ARGUMENT;
    }
    if (!ep_is_size(tensor->channels) || !ep_is_size(tensor->height) ||
        !ep_is_size(tensor->width)) {
        return EP_ERROR_ARGUMENT;
    }
    switch (tensor->type) {
    case EP_FLOAT32:
        break;
    case EP_INT8:
    case EP_UINT8:
        range_of(tensor->type, &low, &high);
        if (!(tensor->scale > 0.0f) || !isfinite(tensor->scale) || (tensor->zero_point < low) ||
            (tensor->zero_point > high)) {
            return EP_ERROR_ARGUMENT;
        }
        break;
    default:
        return EP_ERROR_ARGUMENT;
    }
    if (!ep_fits(tensor->count, tensor->channels, tensor->height, tensor->width) ||
        !ep_is_aligned(tensor->data, tensor->type)) {
        return EP_ERROR_MEMORY;
    }
    return EP_OK;
}

size_t ep_places(const ep_tensor *tensor)
{
    return (size_t)tensor->height * (size_t)tensor->width;
}

ep_steps ep_steps_of(const ep_tensor *tensor)
{
    ep_steps steps = {1u, 1u};

    if (tensor->layout == EP_NCHW) {
        steps.channel = ep_places(tensor);
    } else {
        steps.place = (size_t)tensor->channels;
    }
    return steps;
}

static float dequantize(const ep_tensor *tensor, int32_t value)
{
    return (float)(value - tensor->zero_point) * tensor->scale;
}

float ep_load(const ep_tensor *tensor, size_t index)
{
    float value;

    switch (tensor->type) {
    case EP_INT8:
        value = dequantize(tensor, ((const int8_t *)tensor->data)[index]);
        break;
    case EP_UINT8:
        value = dequantize(tensor, ((const uint8_t *)tensor->data)[index]);
        break;
    case EP_FLOAT32:
    default:
        value = ((const float *)tensor->data)[index];
        break;
    }
    return value;
}

float ep_probability(float raw, ep_scores scores)
{
    if (scores == EP_PROBABILITIES) {
        return raw;
    }
    return 1.0f / (1.0f + expf(-((raw < LOWEST_LOGIT) ? LOWEST_LOGIT : raw)));
}

/** A logit below every one whose float32 sigmoid exceeds the threshold. */
static float lower_logit(float threshold)
{
    float rest = 1.0f - threshold;
    float limit = -INFINITY;

    if (rest <= 0.0f) {
        limit = INFINITY; /* no sigmoid exceeds 1 */
    } else if (threshold > LOWEST_PROBABILITY) {
        /* A relative error of 1e-6 in the sigmoid moves its logit by 1e-6 / rest. */
        limit = logf(threshold / rest) - (1e-6f / rest) - 1e-3f;
    } else {
        /* every logit may exceed it */
    }
    return limit;
}

ep_limit ep_limit_of(const ep_tensor *tensor, ep_scores scores, float threshold)
{
    ep_limit limit;
    int32_t low;
    int32_t high;

    limit.real = (scores == EP_LOGITS) ? lower_logit(threshold) : threshold;
    limit.integer = 0;
    if (tensor->type == EP_FLOAT32) {
        return limit;
    }
    range_of(tensor->type, &low, &high);
    high += 1; /* no integer is above the threshold */
    while (low < high) {
        int32_t middle = low + ((high - low) / 2);
        if (ep_probability(dequantize(tensor, middle), scores) > threshold) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    limit.integer = low;
    return limit;
}

bool ep_any_above(const ep_tensor *tensor, size_t index, size_t step, int32_t n,
                  const ep_limit *limit)
{
    bool above = false;
    size_t at = index;
    int32_t i;

    switch (tensor->type) {
    case EP_INT8:
        for (i = 0; (i < n) && !above; i++) {
            above = ((const int8_t *)tensor->data)[at] >= limit->integer;
            at += step;
        }
        break;
    case EP_UINT8:
        for (i = 0; (i < n) && !above; i++) {
            above = ((const uint8_t *)tensor->data)[at] >= limit->integer;
            at += step;
        }
        break;
    case EP_FLOAT32:
    default:
        for (i = 0; (i < n) && !above; i++) {
            above = ((const float *)tensor->data)[at] > limit->real;
            at += step;
        }
        break;
    }
    return above;
}

ep_status ep_read(const ep_tensor *tensor, float *values, size_t capacity)
{
    ep_status status = ep_check_tensor(tensor);
    ep_steps steps;
    size_t places;
    size_t place;
    int32_t channel;

    if (status != EP_OK) {
        return status;
    }
    if (values == NULL) {
        return EP_ERROR_NULL;
    }
    if (!ep_fits(capacity, tensor->channels, tensor->height, tensor->width)) {
        return EP_ERROR_MEMORY;
    }
    steps = ep_steps_of(tensor);
    places = ep_places(tensor);
    for (channel = 0; channel < tensor->channels; channel++) {
        for (place = 0; place < places; place++) {
            values[((size_t)channel * places) + place] =
                ep_load(tensor, ((size_t)channel * steps.channel) + (place * steps.place));
        }
    }
    return EP_OK;
}

ep_status ep_softmax(const ep_tensor *logits, float *probabilities, size_t capacity)
{
    ep_status status = ep_read(logits, probabilities, capacity);
    float highest = -INFINITY;
    float sum = 0.0f;
    size_t n;
    size_t i;

    if (status != EP_OK) {
        return status;
    }
    n = (size_t)logits->channels * ep_places(logits);
    for (i = 0u; i < n; i++) {
        highest = (probabilities[i] > highest) ? probabilities[i] : highest;
    }
    for (i = 0u; i < n; i++) {
        probabilities[i] = expf(probabilities[i] - highest);
        sum += probabilities[i];
    }
    for (i = 0u; i < n; i++) {
        probabilities[i] /= sum;
    }
    return EP_OK;
}

/** A raw score that can be compared: NaN is the lowest. */
static float comparable(float raw)
{
    return isnan(raw) ? -INFINITY : raw;
}

ep_status ep_top_k(const ep_tensor *logits, int32_t k, ep_class *best, int32_t *found)
{
    ep_status status = ep_check_tensor(logits);
    float sum = 0.0f;
    float highest;
    int32_t count = 0;
    int32_t i;
    int32_t at;

    if (status != EP_OK) {
        return status;
    }
    if ((best == NULL) || (found == NULL)) {
        return EP_ERROR_NULL;
    }
    if (k < 1) {
        return EP_ERROR_ARGUMENT;
    }
    if (ep_places(logits) != 1u) {
        return EP_ERROR_SHAPE;
    }
    for (i = 0; i < logits->channels; i++) {
        float raw = comparable(ep_load(logits, (size_t)i));
        if ((count == k) && !(raw > best[count - 1].score)) {
            continue;
        }
        count += (count < k) ? 1 : 0;
        for (at = count - 1; (at > 0) && (raw > best[at - 1].score); at--) {
            best[at] = best[at - 1];
        }
        best[at].index = i;
        best[at].score = raw;
    }
    highest = best[0].score;
    for (i = 0; i < logits->channels; i++) {
        sum += expf(comparable(ep_load(logits, (size_t)i)) - highest);
    }
    for (i = 0; i < count; i++) {
        best[i].score = expf(best[i].score - highest) / sum;
    }
    *found = count;
    return EP_OK;
}
