/* SPDX-License-Identifier: Apache-2.0 */
#include <cstring>

#include "failure.h"
#include "source.h"

#if defined(WITH_OPENCV)
#include <opencv2/highgui.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#endif

bool is_video_name(const std::string &name)
{
    const std::string suffix = suffix_of(name);
    for (const char *known : {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"}) {
        if (suffix == known) {
            return true;
        }
    }
    return false;
}

#if defined(WITH_OPENCV)

namespace {

cv::Mat to_bgr(const Image &image)
{
    const cv::Mat view(image.height, image.width, CV_8UC3,
                       const_cast<uint8_t *>(image.pixels.data()));
    cv::Mat pixels;
    cv::cvtColor(view, pixels, cv::COLOR_RGB2BGR);
    return pixels;
}

class Video : public Source {
public:
    explicit Video(const std::string &text) : text_(text)
    {
        if (text.compare(0, 7, "camera:") != 0) {
            capture_.open(text);
        } else {
            const std::string number = text.substr(7);
            if (number.empty() || number.size() > 4 ||
                number.find_first_not_of("0123456789") != std::string::npos) {
                throw Failure(text + ": a camera is named by its number, camera:0");
            }
            capture_.open(std::stoi(number));
        }
        if (!capture_.isOpened()) {
            throw Failure("cannot open " + text);
        }
    }

    bool next(std::string &name, Image &image) override
    {
        cv::Mat frame, rgb;
        if (!capture_.read(frame) || frame.empty()) {
            if (count_ == 0) {
                throw Failure("no frame in " + text_);
            }
            return false;
        }
        cv::cvtColor(frame, rgb, cv::COLOR_BGR2RGB);
        image = Image(rgb.cols, rgb.rows, 3);
        std::memcpy(image.pixels.data(), rgb.data, image.pixels.size());
        name = text_ + "#" + std::to_string(count_++);
        return true;
    }

    bool is_video() const override { return true; }

private:
    std::string text_;
    cv::VideoCapture capture_;
    int count_ = 0;
};

class VideoFile : public Sink {
public:
    explicit VideoFile(std::string path) : path_(std::move(path)) {}

    bool take(const std::string &, const Image &drawn, std::string &) override
    {
        if (!writer_.isOpened() &&
            !writer_.open(path_, cv::VideoWriter::fourcc('m', 'p', '4', 'v'), 25.0,
                          {drawn.width, drawn.height})) {
            throw Failure("this OpenCV cannot write " + path_ + ": name a folder");
        }
        writer_.write(to_bgr(drawn));
        return true;
    }

private:
    std::string path_;
    cv::VideoWriter writer_;
};

} // namespace

std::unique_ptr<Source> open_video(const std::string &text)
{
    return std::make_unique<Video>(text);
}

std::unique_ptr<Sink> open_video_file(const std::string &path)
{
    return std::make_unique<VideoFile>(path);
}

bool show_image(const Image &image, bool is_video)
{
    cv::imshow("edgeark", to_bgr(image));
    return (cv::waitKey(is_video ? 1 : 0) & 255) != 'q';
}

#else

namespace {

[[noreturn]] void refuse(const std::string &what)
{
    throw Failure(what + " needs OpenCV, and this program was built without it: see README.md");
}

} // namespace

std::unique_ptr<Source> open_video(const std::string &text) { refuse(text); }

std::unique_ptr<Sink> open_video_file(const std::string &path) { refuse(path); }

bool show_image(const Image &, bool) { refuse("--show"); }

#endif
