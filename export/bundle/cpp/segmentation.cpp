/**
 * @brief Segmentation: a mask of the image's size.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "draw.h"
#include "json.h"
#include "network.h"
#include "resize.h"

namespace {

class Mask : public Answer {
public:
    explicit Mask(Image mask) : mask_(std::move(mask))
    {
        for (const uint8_t value : mask_.pixels) {
            counts_[value]++;
        }
    }

    std::string describe() const override
    {
        std::string text;
        for (size_t value = 0; value < 256; value++) {
            if (counts_[value] > 0) {
                text += format("%s%s %.2f %%", text.empty() ? "" : ", ", name_of(value),
                               100.0 * share_of(value));
            }
        }
        return text;
    }

    std::string json() const override
    {
        std::string text;
        for (size_t value = 0; value < 256; value++) {
            if (counts_[value] > 0) {
                text += format("%s{\"index\": %zu, \"name\": %s, \"share\": %s}",
                               text.empty() ? "" : ", ", value, json_text(name_of(value)).c_str(),
                               json_number(share_of(value)).c_str());
            }
        }
        return "\"shares\": [" + text + "]";
    }

    void draw(Image &canvas) const override
    {
        for (size_t i = 0; i < mask_.pixels.size(); i++) {
            if (mask_.pixels[i] > 0) {
                const Color color = color_of(mask_.pixels[i] - 1);
                for (size_t c = 0; c < 3; c++) {
                    uint8_t &pixel = canvas.pixels[3 * i + c];
                    pixel = static_cast<uint8_t>((pixel + color[c]) / 2);
                }
            }
        }
    }

    /** The mask as a gray image, whose values are the classes' indices. */
    void save(const std::string &stem) const override
    {
        write_image(stem + ".mask" + mask_suffix(), mask_);
    }

private:
    static const char *name_of(size_t value)
    {
        if (model::classes.size() == 1) {
            return value == 0 ? "background" : model::classes[0];
        }
        return model::classes[value];
    }

    double share_of(size_t value) const
    {
        return static_cast<double>(counts_[value]) / static_cast<double>(mask_.pixels.size());
    }

    Image mask_;
    size_t counts_[256] = {};
};

/** Logits of the image's size, where that is smaller: every logit counts in them. */
Planes shrunk(const ep_tensor &logits, const ep_frame &frame)
{
    const size_t places = Image::size_of(logits.width, logits.height, 1);
    const size_t channels = static_cast<size_t>(logits.channels);
    std::vector<float> values(places * channels);
    check(ep_read(&logits, values.data(), values.size()));
    Planes planes{logits.width, logits.height, logits.channels, std::vector<float>(values.size())};
    for (size_t c = 0; c < channels; c++) {
        for (size_t i = 0; i < places; i++) {
            planes.values[i * channels + c] = values[c * places + i];
        }
    }
    return resized(planes, frame.image_width, frame.image_height);
}

} // namespace

/** Logits are resized, not the mask: its border is smooth then. */
std::unique_ptr<Answer> read_answer(const std::vector<ep_tensor> &outputs, const ep_frame &frame,
                                    const TaskOptions &options)
{
    const ep_tensor &logits = outputs[0];
    Image mask(frame.image_width, frame.image_height, 1);
    if (frame.image_width < logits.width || frame.image_height < logits.height) {
        const Planes small = shrunk(logits, frame);
        const ep_tensor view = {small.values.data(), small.values.size(), EP_FLOAT32,
                                EP_NHWC,             small.channels,      small.height,
                                small.width,         1.0f,                0};
        check(ep_mask(&view, options.score, mask.pixels.data(), mask.pixels.size()));
    } else {
        check(ep_logits_to_image_mask(&logits, options.score, &frame, mask.pixels.data(),
                                      mask.pixels.size()));
    }
    return std::make_unique<Mask>(std::move(mask));
}
