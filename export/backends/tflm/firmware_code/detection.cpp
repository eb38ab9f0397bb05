/**
 * @brief Boxes in the image's pixels.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <cstdio>

#include "answer.h"
#include "model.h"
#include "network.h"

// Boxes above the threshold that are kept before suppression: 28 bytes each.
#ifndef MODEL_MAX_CANDIDATES
#define MODEL_MAX_CANDIDATES 256
#endif

namespace {

ep_box memory[MODEL_MAX_CANDIDATES];

/** Outputs that belong to one stride. */
constexpr std::size_t parts = model::output_count / model::stride_count;

ep_status decode(std::size_t index, ep_candidates *found)
{
    ep_tensor maps[parts];
    for (std::size_t part = 0; part < parts; ++part) {
        maps[part] = network::output(index * parts + part);
    }
    const float stride = model::strides[index], threshold = model::score_threshold;
    const ep_tensor *second = parts > 1 ? maps + 1 : nullptr;
    switch (model::decoder) {
    case model::Decoder::yolov5:
        return ep_decode_yolov5(maps, model::anchors[index], model::anchor_count,
                                model::class_count, stride, threshold, found);
    case model::Decoder::yolox:
        return ep_decode_yolox(maps, second, parts > 2 ? maps + 2 : nullptr, model::class_count,
                               model::scores, stride, threshold, found);
    default:
        return ep_decode_dfl(maps, second, model::class_count, model::scores, stride, threshold,
                             found);
    }
}

}  // namespace

bool print_answer(const ep_frame &frame)
{
    ep_candidates found;
    ep_status status = ep_candidates_init(&found, memory, MODEL_MAX_CANDIDATES);
    for (std::size_t i = 0; i < model::stride_count && status == EP_OK; ++i) {
        status = decode(i, &found);
    }
    if (status != EP_OK || ep_nms(&found, model::iou_threshold, model::max_boxes) != EP_OK ||
        ep_boxes_to_image(&frame, &found) != EP_OK) {
        return false;
    }
    for (uint32_t i = 0; i < found.count; ++i) {
        const ep_box &box = found.boxes[i];
        std::printf("%s %.1f %% at %.0f %.0f %.0f %.0f\n", model::classes[box.class_index],
                    100.0 * static_cast<double>(box.score), static_cast<double>(box.x1),
                    static_cast<double>(box.y1), static_cast<double>(box.x2),
                    static_cast<double>(box.y2));
    }
    return true;
}
