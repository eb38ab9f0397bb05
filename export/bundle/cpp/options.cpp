/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <cstdlib>

#include "failure.h"
#include "json.h"

namespace {

int number_of(const std::string &name, const std::string &text, int least)
{
    const int value = whole_number({{name, text}}, name);
    if (value < least) {
        throw Failure(format("--%s is at least %d", name.c_str(), least));
    }
    return value;
}

float fraction_of(const std::string &name, const std::string &text)
{
    char *end = nullptr;
    const float value = std::strtof(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(value > 0.0f && value < 1.0f)) {
        throw Failure("--" + name + " is inside 0..1");
    }
    return value;
}

/** The arguments one by one; an option's value follows it, or an equals sign. */
class Arguments {
public:
    Arguments(int argc, char **argv) : words_(argv + 1, argv + argc) {}

    bool next()
    {
        if (at_ == words_.size()) {
            return false;
        }
        word_ = words_[at_++];
        has_value_ = false;
        const size_t equals = word_.find('=');
        if (word_.compare(0, 2, "--") == 0 && equals != std::string::npos) {
            value_ = word_.substr(equals + 1);
            word_.resize(equals);
            has_value_ = true;
        }
        return true;
    }

    const std::string &word() const { return word_; }

    bool is(const char *name) const { return word_ == name; }

    /** Whether a value follows that is no option; of an optional one, by its suffix. */
    bool has_value(const std::string &suffix = "") const
    {
        if (has_value_ || at_ == words_.size()) {
            return has_value_;
        }
        const std::string &next = words_[at_];
        return next.compare(0, 2, "--") != 0 && next.size() >= suffix.size() &&
               next.compare(next.size() - suffix.size(), suffix.size(), suffix) == 0;
    }

    std::string value()
    {
        if (!has_value()) {
            throw Failure(word_ + " needs a value; see --help");
        }
        return has_value_ ? value_ : words_[at_++];
    }

private:
    std::vector<std::string> words_;
    std::string word_, value_;
    size_t at_ = 0;
    bool has_value_ = false;
};

/** An option of the runtime's own. */
void set(Arguments &arguments, Settings &settings)
{
    const auto found = settings.find(arguments.word().substr(2));
    if (found == settings.end()) {
        throw Failure("no option " + arguments.word() + "; see --help");
    }
    found->second = arguments.value();
}

} // namespace

std::string usage()
{
    std::string text =
        "run [OPTIONS] [SOURCE ...]: an image, a folder, a video or camera:0\n"
        "  --out PATH         draw into a file (of one image or a video) or a folder\n"
        "  --json             a JSON document a line\n"
        "  --show             a window (OpenCV with a display; q ends it)\n"
        "  --score T          only scores above it\n"
        "  --iou T            boxes of a class that overlap more are one object\n"
        "  --top K            so many classes (5)\n"
        "  --threads N        of the runtime; 0: its own choice\n"
        "  --limit N          at most so many frames; 0: all\n"
        "  --benchmark N      N runs on the first image, and medians\n"
        "  --golden [FILE]    run the golden inputs, compare, and write FILE.json (board.json)\n"
        "  --bundle DIR       the folder with the network, where it is not above this program\n";
    for (const RuntimeOption &option : runtime_options()) {
        text += format("  %-18s %s\n", ("--" + option.name + " VALUE").c_str(),
                       (option.help + " (" + option.standard + ")").c_str());
    }
    return text;
}

Options read_options(int argc, char **argv)
{
    Options options;
    options.settings["threads"] = "0";
    for (const RuntimeOption &option : runtime_options()) {
        options.settings[option.name] = option.standard;
    }
    Arguments arguments(argc, argv);
    while (arguments.next()) {
        if (arguments.word().compare(0, 1, "-") != 0) {
            options.sources.push_back(arguments.word());
        } else if (arguments.is("--help") || arguments.is("-h")) {
            options.help = true;
        } else if (arguments.is("--json")) {
            options.json = true;
        } else if (arguments.is("--show")) {
            options.show = true;
        } else if (arguments.is("--out")) {
            options.out = arguments.value();
        } else if (arguments.is("--bundle")) {
            options.bundle = arguments.value();
        } else if (arguments.is("--score")) {
            options.task.score = fraction_of("score", arguments.value());
        } else if (arguments.is("--iou")) {
            options.task.iou = fraction_of("iou", arguments.value());
        } else if (arguments.is("--top")) {
            options.task.top = number_of("top", arguments.value(), 1);
        } else if (arguments.is("--limit")) {
            options.limit = number_of("limit", arguments.value(), 0);
        } else if (arguments.is("--benchmark")) {
            options.benchmark = number_of("benchmark", arguments.value(), 1);
        } else if (arguments.is("--golden")) {
            options.golden = arguments.has_value(".json") ? arguments.value() : "board.json";
        } else {
            set(arguments, options.settings);
        }
    }
    whole_number(options.settings, "threads");
    const bool has_work = options.benchmark > 0 || !options.golden.empty() || options.help;
    if (options.sources.empty() && !has_work) {
        throw Failure("name an image, a folder, a video or camera:0; or --golden, or --benchmark N");
    }
    return options;
}
