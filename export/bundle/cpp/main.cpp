/**
 * @brief Run the network of a bundle on images, folders of images, a video or a camera.
 *
 * All that is to be known of the network is in model.h. Exit status: 0 done, 1 the board answers
 * otherwise than the export did, 2 bad usage, bad input or no runtime.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <cstdio>
#include <exception>
#include <filesystem>

#include "failure.h"
#include "golden.h"
#include "json.h"
#include "model.h"
#include "network.h"
#include "options.h"
#include "source.h"

namespace {

namespace fs = std::filesystem;

/** The bundle's folder: named, or one of those above the program. */
std::string find_folder(const std::string &named, const char *program)
{
    std::error_code error;
    const fs::path network = model::files[0].name;
    if (!named.empty()) {
        if (!fs::exists(fs::path(named) / network, error)) {
            throw Failure(named + " is not the bundle: there is no " + network.string());
        }
        return named;
    }
    fs::path own = fs::canonical("/proc/self/exe", error);
    if (error) {
        own = fs::absolute(program, error);
    }
    for (fs::path folder = own.parent_path();; folder = folder.parent_path()) {
        if (fs::exists(folder / network, error)) {
            return folder.string();
        }
        if (folder == folder.parent_path()) {
            throw Failure("no " + network.string() + " above this program: name its folder with --bundle");
        }
    }
}

/** Frames a second and the parts of a frame, from medians. */
class Rate {
public:
    void add(const Times &times)
    {
        capture_.push_back(times.capture);
        prepare_.push_back(times.prepare);
        infer_.push_back(times.infer);
        read_.push_back(times.read);
    }

    std::string describe() const
    {
        const Times t = medians();
        return format("%zu frames: capture %.2f ms, prepare %.2f ms, infer %.2f ms, read %.2f ms; "
                      "%.1f frames a second",
                      infer_.size(), t.capture, t.prepare, t.infer, t.read,
                      1e3 / (t.capture + t.prepare + t.infer + t.read));
    }

    size_t count() const { return infer_.size(); }

    Times medians() const
    {
        return {median(capture_), median(prepare_), median(infer_), median(read_)};
    }

private:
    std::vector<double> capture_, prepare_, infer_, read_;
};

std::string json_of(const Times &times)
{
    return format("{\"capture\": %s, \"prepare\": %s, \"infer\": %s, \"read\": %s}",
                  json_number(times.capture).c_str(), json_number(times.prepare).c_str(),
                  json_number(times.infer).c_str(), json_number(times.read).c_str());
}

void run_source(Network &network, const std::string &text, const Options &options)
{
    const std::unique_ptr<Source> source = open_source(text);
    const std::unique_ptr<Sink> sink =
        open_sink(options.out, options.show, *source, options.sources.size() == 1);
    Rate rate;
    for (int count = 0; options.limit == 0 || count < options.limit; count++) {
        Times times;
        std::string name;
        Image image;
        const double start = now();
        if (!source->next(name, image)) {
            break;
        }
        times.capture = now() - start;
        const std::unique_ptr<Answer> answer = network(image, options.task, times);
        rate.add(times);
        if (options.json) {
            std::printf("{%s, \"source\": %s, \"ms\": %s}\n", answer->json().c_str(),
                        json_text(name).c_str(), json_of(times).c_str());
        } else {
            const std::string words = answer->describe();
            std::printf("%s: %s\n", name.c_str(), words.empty() ? "nothing found" : words.c_str());
        }
        if (sink) {
            Image canvas = to_rgb(image);
            answer->draw(canvas);
            std::string stem;
            const bool goes_on = sink->take(name, canvas, stem);
            if (!stem.empty()) {
                answer->save(stem);
            }
            if (!goes_on) {
                break;
            }
        }
    }
    if (source->is_video() && !options.json) {
        std::puts(rate.describe().c_str());
    }
}

/** The same image again and again, after a few runs that do not count. */
void benchmark(Network &network, const std::string &folder, const Options &options)
{
    const double start = now();
    Image image;
    if (options.sources.empty()) {
        image = read_golden_inputs(folder).at(0);
    } else {
        std::string name;
        open_source(options.sources[0])->next(name, image);
    }
    Times times;
    times.capture = now() - start;
    Rate rate;
    for (int i = -3; i < options.benchmark; i++) {
        network(image, options.task, times);
        if (i >= 0) {
            rate.add(times);
        }
    }
    if (options.json) {
        std::printf("{\"runs\": %zu, \"ms\": %s}\n", rate.count(),
                    json_of(rate.medians()).c_str());
    } else {
        std::puts(rate.describe().c_str());
    }
}

int run(int argc, char **argv)
{
    const Options options = read_options(argc, argv);
    if (options.help) {
        std::fputs(usage().c_str(), stdout);
        return 0;
    }
    const std::string folder = find_folder(options.bundle, argv[0]);
    Network network(folder, options.settings);
    int status = 0;
    if (!options.golden.empty()) {
        const GoldenReport report = check_golden(network, folder);
        write_board(options.golden, report, folder, network.versions());
        std::fprintf(options.json ? stderr : stdout, "%s\n", report.describe().c_str());
        status = report.ok ? 0 : 1;
    }
    if (options.benchmark > 0) {
        benchmark(network, folder, options);
    } else {
        for (const std::string &source : options.sources) {
            run_source(network, source, options);
        }
    }
    return status;
}

} // namespace

int main(int argc, char **argv)
{
    try {
        return run(argc, argv);
    } catch (const std::exception &failure) {
        std::fprintf(stderr, "error: %s\n", failure.what());
        return 2;
    }
}
