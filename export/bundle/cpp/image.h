/**
 * @file image.h
 * @brief Images in memory and in files.
 *
 * BMP, PPM and PGM files need no library; PNG and JPEG need libpng, libjpeg or OpenCV, whichever
 * CMake found.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef IMAGE_H
#define IMAGE_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/** 8-bit pixels, interleaved, rows from the top: one channel (gray) or three (RGB). */
struct Image {
    int width = 0;
    int height = 0;
    int channels = 0;
    std::vector<uint8_t> pixels;

    Image() = default;
    Image(int w, int h, int c) : width(w), height(h), channels(c), pixels(size_of(w, h, c)) {}

    uint8_t *at(int x, int y) { return &pixels[size_of(width, y, channels) + size_of(x, 1, channels)]; }
    const uint8_t *at(int x, int y) const
    {
        return &pixels[size_of(width, y, channels) + size_of(x, 1, channels)];
    }

    static size_t size_of(int w, int h, int c)
    {
        return static_cast<size_t>(w) * static_cast<size_t>(h) * static_cast<size_t>(c);
    }
};

/** An image file, upright. Throws Failure. */
Image read_image(const std::string &path);

/** Write by the suffix: .bmp, .ppm, .pgm (gray), and what the libraries write. Throws Failure. */
void write_image(const std::string &path, const Image &image);

/** Whether a name has the suffix of an image file. */
bool is_image_name(const std::string &name);

/** The suffix of drawn images in a folder: .png where this program writes it. */
std::string drawn_suffix();

/** The suffix of masks, which must not lose a bit: .png or .pgm. */
std::string mask_suffix();

/** A copy in RGB, to be drawn on. */
Image to_rgb(const Image &image);

/** The suffix of a name in lower case, with its dot. */
std::string suffix_of(const std::string &name);

#endif
