/**
 * @brief Detection: boxes in the image's pixels, from the raw maps of YOLOv5, YOLOX and DFL heads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <algorithm>

#include "draw.h"
#include "json.h"
#include "network.h"

namespace {

class Boxes : public Answer {
public:
    explicit Boxes(std::vector<ep_box> found) : found_(std::move(found)) {}

    std::string describe() const override
    {
        std::string text;
        for (const ep_box &box : found_) {
            text += format("%s%s %.1f %% at %.0f %.0f %.0f %.0f", text.empty() ? "" : ", ",
                           name_of(box), 100.0 * static_cast<double>(box.score),
                           static_cast<double>(box.x1), static_cast<double>(box.y1),
                           static_cast<double>(box.x2), static_cast<double>(box.y2));
        }
        return text;
    }

    std::string json() const override
    {
        std::string text;
        for (const ep_box &box : found_) {
            text += format("%s{\"box\": [%s, %s, %s, %s], \"score\": %s, \"class\": %d, \"name\": %s}",
                           text.empty() ? "" : ", ", json_number(box.x1).c_str(),
                           json_number(box.y1).c_str(), json_number(box.x2).c_str(), json_number(box.y2).c_str(),
                           json_number(box.score).c_str(), static_cast<int>(box.class_index),
                           json_text(name_of(box)).c_str());
        }
        return "\"detections\": [" + text + "]";
    }

    /** The best ones last, so on top. */
    void draw(Image &canvas) const override
    {
        const int line = std::max(1, std::min(canvas.width, canvas.height) / 200);
        for (auto box = found_.rbegin(); box != found_.rend(); ++box) {
            const Color color = color_of(box->class_index);
            const int share = static_cast<int>(100.0f * box->score + 0.5f);
            draw_box(canvas, {box->x1, box->y1, box->x2, box->y2}, color, line);
            draw_text(canvas, static_cast<int>(box->x1), static_cast<int>(box->y1) + line,
                      format("%s %d%%", name_of(*box), share),
                      format("%d", static_cast<int>(box->class_index)), color);
        }
    }

private:
    static const char *name_of(const ep_box &box)
    {
        return model::classes[static_cast<size_t>(box.class_index)];
    }

    std::vector<ep_box> found_;
};

static_assert(model::decoder == model::Decoder::yolov5 || model::decoder == model::Decoder::yolox ||
                  model::decoder == model::Decoder::dfl,
              "a head that is not known");

constexpr int32_t class_count = static_cast<int32_t>(model::classes.size());

/** Outputs per stride. */
constexpr size_t parts = model::outputs.size() / std::max<size_t>(1, model::strides.size());

void decode(const ep_tensor *maps, size_t index, float threshold, ep_candidates *found)
{
    const float stride = model::strides[index];
    if constexpr (model::decoder == model::Decoder::yolov5) {
        const model::Anchors &anchors = model::anchors[index];
        check(ep_decode_yolov5(maps, anchors.sizes, anchors.count, class_count, stride, threshold,
                               found));
    } else if constexpr (model::decoder == model::Decoder::yolox) {
        check(ep_decode_yolox(maps, parts == 3 ? maps + 1 : nullptr, parts == 3 ? maps + 2 : nullptr,
                              class_count, model::scores, stride, threshold, found));
    } else {
        check(ep_decode_dfl(maps, maps + 1, class_count, model::scores, stride, threshold, found));
    }
}

/** As many candidates as the maps can give. */
size_t most_candidates()
{
    size_t count = 0;
    for (size_t i = 0; i < model::strides.size(); i++) {
        const model::Output &map = model::outputs[parts * i];
        size_t anchors = 1;
        if constexpr (model::decoder == model::Decoder::yolov5) {
            anchors = static_cast<size_t>(model::anchors[i].count);
        }
        count += anchors * Image::size_of(map.width, map.height, 1);
    }
    return count;
}

} // namespace

std::unique_ptr<Answer> read_answer(const std::vector<ep_tensor> &outputs, const ep_frame &frame,
                                    const TaskOptions &options)
{
    static std::vector<ep_box> memory(most_candidates());
    ep_candidates found;
    check(ep_candidates_init(&found, memory.data(), static_cast<uint32_t>(memory.size())));
    for (size_t i = 0; i < model::strides.size(); i++) {
        decode(&outputs[parts * i], i, options.score, &found);
    }
    check(ep_nms(&found, options.iou, model::max_boxes));
    check(ep_boxes_to_image(&frame, &found));
    return std::make_unique<Boxes>(
        std::vector<ep_box>(memory.begin(), memory.begin() + found.count));
}
