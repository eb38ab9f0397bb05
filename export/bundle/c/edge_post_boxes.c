/**
 * @file edge_post_boxes.c
 * @brief Detection heads: from raw maps to scored boxes in input pixels.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <math.h>

#include "edge_post.h"
#include "edge_post_private.h"

/* exp(20) times a stride is wider than any image, and its square is still a float32. */
#define MAX_EXPONENT 20.0f

/** A run of channels of a map. */
typedef struct {
    const ep_tensor *tensor;
    ep_steps steps;
    size_t first; /* index of the run's first channel at the first place */
    int32_t channels;
} part;

static part part_of(const ep_tensor *tensor, int32_t first, int32_t channels)
{
    part result;

    result.tensor = tensor;
    result.steps = ep_steps_of(tensor);
    result.first = (size_t)first * result.steps.channel;
    result.channels = channels;
    return result;
}

static size_t index_of(const part *map, size_t place)
{
    return map->first + (place * map->steps.place);
}

static float value_at(const part *map, size_t place, int32_t channel)
{
    return ep_load(map->tensor, index_of(map, place) + ((size_t)channel * map->steps.channel));
}

static bool is_any_above(const part *map, size_t place, const ep_limit *limit)
{
    return ep_any_above(map->tensor, index_of(map, place), map->steps.channel, map->channels,
                        limit);
}

/**
 * The highest of the classes' scores times a factor, and its class, the first of equals.
 *
 * Only a raw value above all before it can have a higher score: few need the sigmoid. NaN among
 * them makes the score NaN, which is above no threshold.
 */
static float best_class(const part *classes, size_t place, float factor, ep_scores scores,
                        int32_t *best)
{
    float highest = -INFINITY;
    float score = -1.0f;
    int32_t c;

    *best = 0;
    for (c = 0; c < classes->channels; c++) {
        float raw = value_at(classes, place, c);
        if (isnan(raw)) {
            return raw;
        }
        if (raw > highest) {
            float candidate = factor * ep_probability(raw, scores);
            highest = raw;
            if (candidate > score) {
                score = candidate;
                *best = c;
            }
        }
    }
    return score;
}

static void add_centred(ep_candidates *found, float x, float y, float width, float height,
                          float score, int32_t class_index)
{
    ep_box box;

    box.x1 = x - (width / 2.0f);
    box.y1 = y - (height / 2.0f);
    box.x2 = x + (width / 2.0f);
    box.y2 = y + (height / 2.0f);
    box.score = score;
    box.class_index = class_index;
    box.order = 0u;
    (void)ep_candidates_add(found, &box); /* refuses what is not finite */
}

/** What all decoders check of their numbers. */
static ep_status check_numbers(int32_t class_count, float stride, float threshold,
                               const ep_candidates *found)
{
    ep_status status = ep_check_candidates(found);

    if (status != EP_OK) {
        return status;
    }
    if ((class_count < 1) || (class_count > EP_MAX_SIZE) || !(stride > 0.0f) ||
        !isfinite(stride) || !ep_is_fraction(threshold)) {
        return EP_ERROR_ARGUMENT;
    }
    return EP_OK;
}

static ep_status check_scores(ep_scores scores)
{
    return ((scores == EP_LOGITS) || (scores == EP_PROBABILITIES)) ? EP_OK : EP_ERROR_ARGUMENT;
}

/** Whether a tensor has so many channels, and the height and width of another one. */
static ep_status check_map(const ep_tensor *tensor, int64_t channels, const ep_tensor *like)
{
    ep_status status = ep_check_tensor(tensor);

    if (status != EP_OK) {
        return status;
    }
    if ((tensor->channels != channels) || (tensor->height != like->height) ||
        (tensor->width != like->width)) {
        return EP_ERROR_SHAPE;
    }
    return EP_OK;
}

ep_status ep_decode_yolov5(const ep_tensor *map, const float *anchors, int32_t anchor_count,
                           int32_t class_count, float stride, float threshold,
                           ep_candidates *found)
{
    ep_status status = check_numbers(class_count, stride, threshold, found);
    ep_limit limit;
    size_t places;
    size_t columns;
    size_t place;
    int32_t anchor;

    if (status != EP_OK) {
        return status;
    }
    if ((map == NULL) || (anchors == NULL)) {
        return EP_ERROR_NULL;
    }
    if (anchor_count < 1) {
        return EP_ERROR_ARGUMENT;
    }
    status = check_map(map, (int64_t)anchor_count * ((int64_t)class_count + 5), map);
    if (status != EP_OK) {
        return status;
    }
    limit = ep_limit_of(map, EP_LOGITS, threshold);
    places = ep_places(map);
    columns = (size_t)map->width;
    for (anchor = 0; anchor < anchor_count; anchor++) {
        const int32_t first = anchor * (class_count + 5);
        const part box = part_of(map, first, 4);
        const part objectness = part_of(map, first + 4, 1);
        const part classes = part_of(map, first + 5, class_count);
        for (place = 0u; place < places; place++) {
            float likely;
            float score;
            int32_t best;
            float side[4];
            int32_t i;
            if (!is_any_above(&objectness, place, &limit)) {
                continue;
            }
            likely = ep_probability(value_at(&objectness, place, 0), EP_LOGITS);
            score = best_class(&classes, place, likely, EP_LOGITS, &best);
            if (!(likely > threshold) || !(score > threshold)) {
                continue;
            }
            for (i = 0; i < 4; i++) {
                side[i] = 2.0f * ep_probability(value_at(&box, place, i), EP_LOGITS);
            }
            add_centred(found, ((side[0] - 0.5f) + (float)(place % columns)) * stride,
                          ((side[1] - 0.5f) + (float)(place / columns)) * stride,
                          (side[2] * side[2]) * anchors[2 * anchor],
                          (side[3] * side[3]) * anchors[(2 * anchor) + 1], score, best);
        }
    }
    return EP_OK;
}

/** Whether the parts of a YOLOX head, or the joined map, fit each other and the classes. */
static ep_status check_yolox(const ep_tensor *box, const ep_tensor *objectness,
                             const ep_tensor *classes, int32_t class_count)
{
    ep_status status;

    if ((box == NULL) || ((objectness == NULL) != (classes == NULL))) {
        return EP_ERROR_NULL;
    }
    if (objectness == NULL) {
        return check_map(box, (int64_t)class_count + 5, box);
    }
    status = check_map(box, 4, box);
    if (status == EP_OK) {
        status = check_map(objectness, 1, box);
    }
    if (status == EP_OK) {
        status = check_map(classes, class_count, box);
    }
    return status;
}

ep_status ep_decode_yolox(const ep_tensor *box, const ep_tensor *objectness,
                          const ep_tensor *classes, int32_t class_count, ep_scores scores,
                          float stride, float threshold, ep_candidates *found)
{
    ep_status status = check_numbers(class_count, stride, threshold, found);
    part boxes;
    part likelihood;
    part kinds;
    ep_limit limit;
    size_t places;
    size_t columns;
    size_t place;

    if (status == EP_OK) {
        status = check_scores(scores);
    }
    if (status == EP_OK) {
        status = check_yolox(box, objectness, classes, class_count);
    }
    if (status != EP_OK) {
        return status;
    }
    boxes = part_of(box, 0, 4);
    likelihood = (objectness == NULL) ? part_of(box, 4, 1) : part_of(objectness, 0, 1);
    kinds = (classes == NULL) ? part_of(box, 5, class_count) : part_of(classes, 0, class_count);
    limit = ep_limit_of(likelihood.tensor, scores, threshold);
    places = ep_places(box);
    columns = (size_t)box->width;
    for (place = 0u; place < places; place++) {
        float likely;
        float score;
        int32_t best;
        float side[4];
        int32_t i;
        if (!is_any_above(&likelihood, place, &limit)) {
            continue;
        }
        likely = ep_probability(value_at(&likelihood, place, 0), scores);
        score = best_class(&kinds, place, likely, scores, &best);
        if (!(likely > threshold) || !(score > threshold)) {
            continue;
        }
        for (i = 0; i < 4; i++) {
            side[i] = value_at(&boxes, place, i);
        }
        for (i = 2; i < 4; i++) {
            side[i] = expf((side[i] > MAX_EXPONENT) ? MAX_EXPONENT : side[i]);
        }
        add_centred(found, (side[0] + (float)(place % columns)) * stride,
                      (side[1] + (float)(place / columns)) * stride, side[2] * stride,
                      side[3] * stride, score, best);
    }
    return EP_OK;
}

/** A side's distance from the cell's centre, in cells. */
static float distance(const part *box, size_t place, int32_t first, int32_t bins)
{
    float highest = value_at(box, place, first);
    float sum = 0.0f;
    float mean = 0.0f;
    int32_t i;

    if (bins == 1) {
        return highest;
    }
    for (i = 1; i < bins; i++) {
        float value = value_at(box, place, first + i);
        highest = (value > highest) ? value : highest;
    }
    for (i = 0; i < bins; i++) {
        float weight = expf(value_at(box, place, first + i) - highest);
        sum += weight;
        mean += weight * (float)i;
    }
    return mean / sum;
}

ep_status ep_decode_dfl(const ep_tensor *box, const ep_tensor *classes, int32_t class_count,
                        ep_scores scores, float stride, float threshold, ep_candidates *found)
{
    ep_status status = check_numbers(class_count, stride, threshold, found);
    part sides;
    part kinds;
    ep_limit limit;
    size_t places;
    size_t columns;
    size_t place;
    int32_t bins;

    if (status == EP_OK) {
        status = check_scores(scores);
    }
    if (status == EP_OK) {
        status = ep_check_tensor(box);
    }
    if (status == EP_OK) {
        status = check_map(classes, class_count, box);
    }
    if (status != EP_OK) {
        return status;
    }
    if ((box->channels % 4) != 0) {
        return EP_ERROR_SHAPE;
    }
    bins = box->channels / 4;
    sides = part_of(box, 0, box->channels);
    kinds = part_of(classes, 0, class_count);
    limit = ep_limit_of(classes, scores, threshold);
    places = ep_places(box);
    columns = (size_t)box->width;
    for (place = 0u; place < places; place++) {
        float x = (float)(place % columns) + 0.5f;
        float y = (float)(place / columns) + 0.5f;
        ep_box candidate;
        if (!is_any_above(&kinds, place, &limit)) {
            continue;
        }
        candidate.score = best_class(&kinds, place, 1.0f, scores, &candidate.class_index);
        if (!(candidate.score > threshold)) {
            continue;
        }
        candidate.x1 = (x - distance(&sides, place, 0, bins)) * stride;
        candidate.y1 = (y - distance(&sides, place, bins, bins)) * stride;
        candidate.x2 = (x + distance(&sides, place, 2 * bins, bins)) * stride;
        candidate.y2 = (y + distance(&sides, place, 3 * bins, bins)) * stride;
        candidate.order = 0u;
        (void)ep_candidates_add(found, &candidate); /* refuses what is not finite */
    }
    return EP_OK;
}
