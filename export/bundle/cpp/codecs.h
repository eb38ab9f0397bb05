/**
 * @file codecs.h
 * @brief Image files that need a library: libpng, libjpeg or OpenCV.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CODECS_H
#define CODECS_H

#include "image.h"

/** The content of an image file. Throws Failure where no library of this program reads it. */
Image decode_image(const std::vector<uint8_t> &data);

/** Write a file by its suffix; false where no library of this program writes that. */
bool encode_image(const std::string &path, const Image &image);

/** Whether PNG files can be written. */
bool writes_png();

#endif
