/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DRAW_H
#define DRAW_H

#include <array>
#include <string>

#include "image.h"

using Color = std::array<uint8_t, 3>;

/** The colour of a class. */
Color color_of(int class_index);

/** A rectangle of `line` pixels on an RGB image; corners in pixels. */
void draw_box(Image &canvas, const float (&box)[4], Color color, int line);

/**
 * Text on a ground of a colour, its top left corner at x, y, white.
 *
 * OpenCV's fonts have ASCII alone; without OpenCV there are digits and the percent sign: where
 * `text` has other characters, `digits` is drawn.
 */
void draw_text(Image &canvas, int x, int y, const std::string &text, const std::string &digits,
               Color color);

/** The height of a line of text. */
int text_height(const Image &canvas);

#endif
