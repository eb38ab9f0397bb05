/**
 * @file edge_post_nms.c
 * @brief The best candidates, and which of them are the same object.
 *
 * Until suppression the candidates are a heap with the worst of them on top.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <float.h>
#include <math.h>

#include "edge_post.h"
#include "edge_post_private.h"

ep_status ep_candidates_init(ep_candidates *found, ep_box *memory, uint32_t capacity)
{
    if ((found == NULL) || (memory == NULL)) {
        return EP_ERROR_NULL;
    }
    if (capacity == 0u) {
        return EP_ERROR_ARGUMENT;
    }
    found->boxes = memory;
    found->capacity = capacity;
    found->count = 0u;
    found->seen = 0u;
    return EP_OK;
}

ep_status ep_check_candidates(const ep_candidates *found)
{
    if ((found == NULL) || (found->boxes == NULL)) {
        return EP_ERROR_NULL;
    }
    if ((found->capacity == 0u) || (found->count > found->capacity)) {
        return EP_ERROR_ARGUMENT;
    }
    return EP_OK;
}

static bool is_better(const ep_box *a, const ep_box *b)
{
    bool better = a->score > b->score;

    if (!better && !(a->score < b->score)) {
        better = a->order < b->order;
    }
    return better;
}

/** Put a box where it belongs, from the heap's top downwards. */
static void sink(ep_box *heap, uint32_t count, ep_box box)
{
    uint32_t at = 0u;
    bool done = false;

    while (!done && (at < (count / 2u))) {
        uint32_t child = (2u * at) + 1u;
        if (((child + 1u) < count) && is_better(&heap[child], &heap[child + 1u])) {
            child++;
        }
        if (is_better(&box, &heap[child])) {
            heap[at] = heap[child];
            at = child;
        } else {
            done = true;
        }
    }
    heap[at] = box;
}

ep_status ep_candidates_add(ep_candidates *found, const ep_box *box)
{
    ep_status status = ep_check_candidates(found);
    ep_box *heap;
    ep_box offered;

    if (status != EP_OK) {
        return status;
    }
    if (box == NULL) {
        return EP_ERROR_NULL;
    }
    if (!isfinite(box->x1) || !isfinite(box->y1) || !isfinite(box->x2) || !isfinite(box->y2) ||
        isnan(box->score)) {
        return EP_ERROR_ARGUMENT;
    }
    heap = found->boxes;
    offered = *box;
    offered.order = found->seen;
    found->seen++;
    if (found->count < found->capacity) {
        uint32_t at = found->count;
        found->count++;
        while ((at > 0u) && is_better(&heap[(at - 1u) / 2u], &offered)) {
            heap[at] = heap[(at - 1u) / 2u];
            at = (at - 1u) / 2u;
        }
        heap[at] = offered;
    } else if (is_better(&offered, &heap[0])) {
        sink(heap, found->count, offered);
    } else {
        /* worse than all that are kept */
    }
    return EP_OK;
}

/** Heap to array, best first: the worst goes to the end, time after time. */
static void sort(ep_candidates *found)
{
    ep_box *heap = found->boxes;
    uint32_t i;

    for (i = found->count; i > 1u; i--) {
        ep_box last = heap[i - 1u];
        heap[i - 1u] = heap[0];
        sink(heap, i - 1u, last);
    }
}

static float area(const ep_box *box)
{
    return (box->x2 - box->x1) * (box->y2 - box->y1);
}

/** Length that two intervals share. */
static float common(float low_a, float high_a, float low_b, float high_b)
{
    float low = (low_a > low_b) ? low_a : low_b;
    float high = (high_a < high_b) ? high_a : high_b;

    return (high > low) ? (high - low) : 0.0f;
}

static float overlap(const ep_box *a, const ep_box *b)
{
    float both = common(a->x1, a->x2, b->x1, b->x2) * common(a->y1, a->y2, b->y1, b->y2);
    float either = (area(a) + area(b)) - both;

    return both / ((either > FLT_MIN) ? either : FLT_MIN);
}

ep_status ep_nms(ep_candidates *found, float iou, uint32_t max_boxes)
{
    ep_status status = ep_check_candidates(found);
    uint32_t most;
    uint32_t kept = 0u;
    uint32_t i;

    if (status != EP_OK) {
        return status;
    }
    if (!ep_is_fraction(iou)) {
        return EP_ERROR_ARGUMENT;
    }
    sort(found);
    most = (max_boxes == 0u) ? found->count : max_boxes;
    for (i = 0u; (i < found->count) && (kept < most); i++) {
        const ep_box box = found->boxes[i];
        bool covered = false;
        uint32_t other;
        for (other = 0u; (other < kept) && !covered; other++) {
            covered = (found->boxes[other].class_index == box.class_index) &&
                      (overlap(&box, &found->boxes[other]) > iou);
        }
        if (!covered) {
            found->boxes[kept] = box;
            kept++;
        }
    }
    found->count = kept;
    return EP_OK;
}
