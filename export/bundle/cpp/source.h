/**
 * @file source.h
 * @brief Where images come from, and where drawn ones go.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef SOURCE_H
#define SOURCE_H

#include <memory>
#include <string>

#include "image.h"

class Source {
public:
    Source() = default;
    Source(const Source &) = delete;
    Source &operator=(const Source &) = delete;
    virtual ~Source() = default;

    /** The next image and its name; false at the end. Throws Failure. */
    virtual bool next(std::string &name, Image &image) = 0;

    virtual bool is_video() const { return false; }
    virtual bool is_folder() const { return false; }
};

/** An image, a folder of images, a video or camera:N. Throws Failure. */
std::unique_ptr<Source> open_source(const std::string &text);

class Sink {
public:
    Sink() = default;
    Sink(const Sink &) = delete;
    Sink &operator=(const Sink &) = delete;
    virtual ~Sink() = default;

    /**
     * Take a drawn image; false: the user has closed the window.
     *
     * @param stem receives the path without suffix for what lies beside the image, or nothing.
     */
    virtual bool take(const std::string &name, const Image &drawn, std::string &stem) = 0;
};

/**
 * A file (of one image or a video) or a folder, and perhaps a window; null where neither is
 * wanted. Throws Failure.
 */
std::unique_ptr<Sink> open_sink(const std::string &path, bool show, const Source &source,
                                bool is_only_source);

/* ---- video.cpp: what needs OpenCV ---------------------------------------------------------- */

/** Whether a name is that of a video file. */
bool is_video_name(const std::string &name);

/** A video file, or camera:N. Throws Failure. */
std::unique_ptr<Source> open_video(const std::string &text);

/** A video file to write. Throws Failure. */
std::unique_ptr<Sink> open_video_file(const std::string &path);

/** Show an image in a window; false: q was pressed. Throws Failure. */
bool show_image(const Image &image, bool is_video);

#endif
