/**
 * @brief A network of a user's own: its raw outputs, which edgeark knows no meaning of.
 *
 * Put what they mean into Outputs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <algorithm>

#include "json.h"
#include "network.h"

namespace {

class Outputs : public Answer {
public:
    explicit Outputs(const std::vector<ep_tensor> &outputs)
    {
        for (const ep_tensor &output : outputs) {
            values_.emplace_back(output.count);
            check(ep_read(&output, values_.back().data(), output.count));
        }
    }

    std::string describe() const override
    {
        std::string text;
        for (size_t i = 0; i < values_.size(); i++) {
            const auto [low, high] = std::minmax_element(values_[i].begin(), values_[i].end());
            text += format("%s%s %s %.4g to %.4g", i == 0 ? "" : "; ", model::outputs[i].name,
                           model::outputs[i].shape, static_cast<double>(*low),
                           static_cast<double>(*high));
        }
        return text;
    }

    /** Each output's values in one list, in the order of PyTorch's. */
    std::string json() const override
    {
        std::string text;
        for (size_t i = 0; i < values_.size(); i++) {
            text += (i == 0 ? "" : ", ") + json_text(model::outputs[i].name) + ": [";
            for (size_t k = 0; k < values_[i].size(); k++) {
                text += (k == 0 ? "" : ", ") + json_number(values_[i][k]);
            }
            text += "]";
        }
        return "\"outputs\": {" + text + "}";
    }

    /** Nothing is known to draw. */
    void draw(Image &) const override {}

private:
    std::vector<std::vector<float>> values_;
};

} // namespace

std::unique_ptr<Answer> read_answer(const std::vector<ep_tensor> &outputs, const ep_frame &,
                                    const TaskOptions &)
{
    return std::make_unique<Outputs>(outputs);
}
