/* SPDX-License-Identifier: Apache-2.0 */
#include "resize.h"

#include <algorithm>
#include <cmath>

namespace {

/** The source pixels of one new pixel: `weights` for those from `first` on. */
struct Taps {
    int first = 0;
    std::vector<float> weights;
};

std::vector<Taps> taps_of(int old, int size)
{
    const double ratio = static_cast<double>(old) / size, reach = std::max(ratio, 1.0);
    std::vector<Taps> taps(static_cast<size_t>(size));
    std::vector<double> weights;
    for (int i = 0; i < size; i++) {
        const double centre = (i + 0.5) * ratio - 0.5;
        const int first = std::max(0, static_cast<int>(std::floor(centre - reach)));
        const int last = std::min(old - 1, static_cast<int>(std::ceil(centre + reach)));
        double sum = 0;
        weights.clear();
        for (int at = first; at <= last; at++) {
            weights.push_back(std::max(0.0, 1.0 - std::abs(at - centre) / reach));
            sum += weights.back();
        }
        Taps &tap = taps[static_cast<size_t>(i)];
        tap.first = first;
        for (const double weight : weights) {
            tap.weights.push_back(static_cast<float>(weight / sum));
        }
    }
    return taps;
}

/** One axis: `outer` lines of `old` groups of `inner` values become lines of `size` groups. */
std::vector<float> resized_axis(const std::vector<float> &values, size_t outer, int old, int size,
                                size_t inner)
{
    if (old == size) {
        return values;
    }
    const std::vector<Taps> taps = taps_of(old, size);
    const size_t groups = static_cast<size_t>(size), olds = static_cast<size_t>(old);
    std::vector<float> result(outer * groups * inner);
    for (size_t line = 0; line < outer; line++) {
        for (size_t i = 0; i < groups; i++) {
            float *out = &result[(line * groups + i) * inner];
            size_t from = (line * olds + static_cast<size_t>(taps[i].first)) * inner;
            for (const float weight : taps[i].weights) {
                for (size_t k = 0; k < inner; k++) {
                    out[k] += values[from + k] * weight;
                }
                from += inner;
            }
        }
    }
    return result;
}

} // namespace

Planes to_planes(const Image &image, int channels, ep_order order)
{
    Planes planes{image.width, image.height, channels, {}};
    const size_t count = Image::size_of(image.width, image.height, 1);
    const size_t wanted = static_cast<size_t>(channels);
    planes.values.resize(count * wanted);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *pixel = &image.pixels[i * static_cast<size_t>(image.channels)];
        float *out = &planes.values[i * wanted];
        if (image.channels == 1) {
            std::fill(out, out + wanted, static_cast<float>(pixel[0]));
        } else if (channels == 1) {
            out[0] = 0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2];
        } else {
            for (size_t c = 0; c < 3; c++) {
                out[c] = pixel[order == EP_BGR ? 2 - c : c];
            }
        }
    }
    return planes;
}

Planes resized(const Planes &planes, int width, int height)
{
    const size_t channels = static_cast<size_t>(planes.channels);
    const std::vector<float> rows =
        resized_axis(planes.values, 1, planes.height, height,
                     static_cast<size_t>(planes.width) * channels);
    return {width, height, planes.channels,
            resized_axis(rows, static_cast<size_t>(height), planes.width, width, channels)};
}

Image to_bytes(const Planes &planes)
{
    Image image(planes.width, planes.height, planes.channels);
    for (size_t i = 0; i < planes.values.size(); i++) {
        const float value = std::min(255.0f, std::max(0.0f, std::nearbyint(planes.values[i])));
        image.pixels[i] = static_cast<uint8_t>(value);
    }
    return image;
}
