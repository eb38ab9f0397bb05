/**
 * @brief Classification: the likeliest classes of an image.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <algorithm>

#include "draw.h"
#include "json.h"
#include "network.h"

namespace {

class Classes : public Answer {
public:
    explicit Classes(std::vector<ep_class> best) : best_(std::move(best)) {}

    std::string describe() const override
    {
        std::string text;
        for (const ep_class &each : best_) {
            text += format("%s%s %.1f %%", text.empty() ? "" : ", ", name_of(each),
                           100.0 * static_cast<double>(each.score));
        }
        return text;
    }

    std::string json() const override
    {
        std::string text;
        for (const ep_class &each : best_) {
            text += format("%s{\"index\": %d, \"name\": %s, \"score\": %s}",
                           text.empty() ? "" : ", ", static_cast<int>(each.index),
                           json_text(name_of(each)).c_str(), json_number(each.score).c_str());
        }
        return "\"classes\": [" + text + "]";
    }

    void draw(Image &canvas) const override
    {
        int y = 2;
        for (size_t i = 0; i < best_.size() && i < 3; i++) {
            const int share = static_cast<int>(100.0f * best_[i].score + 0.5f);
            draw_text(canvas, 2, y, format("%s %d%%", name_of(best_[i]), share),
                      format("%d %d%%", static_cast<int>(best_[i].index), share), color_of(1));
            y += text_height(canvas) + 4;
        }
    }

private:
    static const char *name_of(const ep_class &each)
    {
        return model::classes[static_cast<size_t>(each.index)];
    }

    std::vector<ep_class> best_;
};

} // namespace

std::unique_ptr<Answer> read_answer(const std::vector<ep_tensor> &outputs, const ep_frame &,
                                    const TaskOptions &options)
{
    const int count = std::min(options.top, static_cast<int>(model::classes.size()));
    std::vector<ep_class> best(static_cast<size_t>(count));
    int32_t found = 0;
    check(ep_top_k(&outputs[0], count, best.data(), &found));
    best.resize(static_cast<size_t>(found));
    return std::make_unique<Classes>(std::move(best));
}
