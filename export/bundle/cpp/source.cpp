/* SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include <algorithm>
#include <filesystem>

#include "failure.h"

namespace {

namespace fs = std::filesystem;

class Files : public Source {
public:
    Files(std::vector<fs::path> paths, bool is_folder)
        : paths_(std::move(paths)), is_folder_(is_folder)
    {
    }

    bool next(std::string &name, Image &image) override
    {
        if (at_ == paths_.size()) {
            return false;
        }
        name = paths_[at_].filename().string();
        image = read_image(paths_[at_].string());
        at_++;
        return true;
    }

    bool is_folder() const override { return is_folder_; }

private:
    std::vector<fs::path> paths_;
    bool is_folder_;
    size_t at_ = 0;
};

/** Drawn images in one file, or in a folder under their own names. */
class ImageFiles : public Sink {
public:
    ImageFiles(std::string path, bool is_file) : path_(std::move(path)), is_file_(is_file)
    {
        std::error_code error;
        if (!is_file_ && !fs::is_directory(path_) && !fs::create_directories(path_, error)) {
            throw Failure("cannot make the folder " + path_);
        }
    }

    bool take(const std::string &name, const Image &drawn, std::string &stem) override
    {
        fs::path path = path_;
        if (!is_file_) {
            std::string own = fs::path(name).filename().string();
            std::replace(own.begin(), own.end(), '#', '-');
            const fs::path known = is_image_name(own) ? fs::path(own).stem() : fs::path(own);
            path /= known.string() + drawn_suffix();
        }
        write_image(path.string(), drawn);
        stem = path.replace_extension().string();
        return true;
    }

private:
    std::string path_;
    bool is_file_;
};

class Window : public Sink {
public:
    Window(std::unique_ptr<Sink> other, bool is_video)
        : other_(std::move(other)), is_video_(is_video)
    {
    }

    bool take(const std::string &name, const Image &drawn, std::string &stem) override
    {
        if (other_) {
            other_->take(name, drawn, stem);
        }
        return show_image(drawn, is_video_);
    }

private:
    std::unique_ptr<Sink> other_;
    bool is_video_;
};

} // namespace

std::unique_ptr<Source> open_source(const std::string &text)
{
    if (text.compare(0, 7, "camera:") == 0 || is_video_name(text)) {
        return open_video(text);
    }
    std::error_code error;
    if (!fs::is_directory(text, error)) {
        return std::make_unique<Files>(std::vector<fs::path>{text}, false);
    }
    std::vector<fs::path> paths;
    for (const fs::directory_entry &entry : fs::directory_iterator(text, error)) {
        if (is_image_name(entry.path().filename().string())) {
            paths.push_back(entry.path());
        }
    }
    if (paths.empty()) {
        throw Failure("no image in the folder " + text);
    }
    std::sort(paths.begin(), paths.end());
    return std::make_unique<Files>(std::move(paths), true);
}

std::unique_ptr<Sink> open_sink(const std::string &path, bool show, const Source &source,
                                bool is_only_source)
{
    std::unique_ptr<Sink> sink;
    const bool is_image = is_image_name(path), is_video = is_video_name(path);
    if ((is_image || is_video) && is_video != source.is_video()) {
        throw Failure("--out " + path + ": of the same kind as the source, or a folder");
    }
    if (is_image && (source.is_folder() || !is_only_source)) {
        throw Failure("--out " + path + ": several images need a folder");
    }
    if (is_video) {
        sink = open_video_file(path);
    } else if (!path.empty()) {
        sink = std::make_unique<ImageFiles>(path, is_image);
    }
    if (show) {
        sink = std::make_unique<Window>(std::move(sink), source.is_video());
    }
    return sink;
}
