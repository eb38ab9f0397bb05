/* SPDX-License-Identifier: Apache-2.0 */
#include "draw.h"

#include <algorithm>
#include <cmath>

#if defined(WITH_OPENCV)
#include <opencv2/imgproc.hpp>
#endif

namespace {

constexpr Color colors[] = {
    {230, 60, 50}, {60, 130, 240}, {70, 190, 90}, {240, 190, 40}, {170, 80, 200}};

void fill(Image &canvas, int x1, int y1, int x2, int y2, Color color)
{
    for (int y = std::max(0, y1); y < std::min(y2, canvas.height); y++) {
        for (int x = std::max(0, x1); x < std::min(x2, canvas.width); x++) {
            std::copy(color.begin(), color.end(), canvas.at(x, y));
        }
    }
}

#if defined(WITH_OPENCV)

bool is_ascii(const std::string &text)
{
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

#else

constexpr char characters[] = "0123456789%";
/* 3 x 5 pixels each, a row three bits. */
constexpr uint8_t shapes[][5] = {
    {7, 5, 5, 5, 7}, {2, 6, 2, 2, 7}, {7, 1, 7, 4, 7}, {7, 1, 7, 1, 7}, {5, 5, 7, 1, 1},
    {7, 4, 7, 1, 7}, {7, 4, 7, 5, 7}, {7, 1, 2, 2, 2}, {7, 5, 7, 5, 7}, {7, 5, 7, 1, 7},
    {5, 1, 2, 4, 5}};

#endif

} // namespace

Color color_of(int class_index)
{
    return colors[static_cast<size_t>(class_index) % (sizeof colors / sizeof colors[0])];
}

void draw_box(Image &canvas, const float (&box)[4], Color color, int line)
{
    const int x1 = static_cast<int>(std::lround(box[0])), y1 = static_cast<int>(std::lround(box[1]));
    const int x2 = static_cast<int>(std::lround(box[2])), y2 = static_cast<int>(std::lround(box[3]));
    fill(canvas, x1, y1, x2, y1 + line, color);
    fill(canvas, x1, std::max(y2 - line, y1), x2, y2, color);
    fill(canvas, x1, y1, x1 + line, y2, color);
    fill(canvas, std::max(x2 - line, x1), y1, x2, y2, color);
}

int text_height(const Image &canvas) { return std::max(14, canvas.height / 36); }

void draw_text(Image &canvas, int x, int y, const std::string &text, const std::string &digits,
               Color color)
{
#if defined(WITH_OPENCV)
    const std::string &words = is_ascii(text) ? text : digits;
    const double scale = text_height(canvas) / 36.0;
    int base = 0;
    const cv::Size size = cv::getTextSize(words, cv::FONT_HERSHEY_SIMPLEX, scale, 1, &base);
    x = std::max(0, std::min(x, canvas.width - size.width - 4));
    y = std::max(0, y);
    fill(canvas, x, y, x + size.width + 4, y + size.height + base + 4, color);
    cv::Mat view(canvas.height, canvas.width, CV_8UC3, canvas.pixels.data());
    cv::putText(view, words, {x + 2, y + size.height + 2}, cv::FONT_HERSHEY_SIMPLEX, scale,
                {255, 255, 255}, 1, cv::LINE_AA);
#else
    const std::string &words =
        text.find_first_not_of(characters) == std::string::npos ? text : digits;
    const int zoom = std::max(2, text_height(canvas) / 7), letter = 4 * zoom;
    const int width = static_cast<int>(words.size()) * letter + zoom;
    x = std::max(0, std::min(x, canvas.width - width));
    y = std::max(0, y);
    fill(canvas, x, y, x + width, y + 7 * zoom, color);
    int left = x + zoom;
    for (const char c : words) {
        const size_t shape = std::string(characters).find(c);
        for (int row = 0; shape != std::string::npos && row < 5; row++) {
            for (int column = 0; column < 3; column++) {
                if (((shapes[shape][row] >> (2 - column)) & 1) != 0) {
                    const int px = left + column * zoom, py = y + (row + 1) * zoom;
                    fill(canvas, px, py, px + zoom, py + zoom, {255, 255, 255});
                }
            }
        }
        left += letter;
    }
#endif
}
