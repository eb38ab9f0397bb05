/* SPDX-License-Identifier: Apache-2.0 */
#include "golden.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "failure.h"
#include "json.h"
#include "sha256.h"

namespace {

constexpr double cap_db = 200;

using Values = std::vector<float>;

/** Raw little-endian values, `count` of them. */
template <typename T> std::vector<T> read_raw(const std::string &path, size_t count)
{
    const std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(path.c_str(), "rb"),
                                                                std::fclose);
    std::vector<T> values(count);
    if (!file || std::fread(values.data(), sizeof(T), count, file.get()) != count) {
        throw Failure("cannot read " + path + ": copy the whole folder");
    }
    return values;
}

/** One output's answers to all inputs, against others'. */
Difference compare(const Values &right, const Values &answers, size_t inputs)
{
    const size_t each = right.size() / inputs;
    double power = 0, noise = 0;
    Difference found;
    for (size_t i = 0; i < each; i++) {
        double mean = 0; // over the inputs: that is no signal
        for (size_t at = i; at < right.size(); at += each) {
            mean += right[at];
        }
        mean /= static_cast<double>(inputs);
        for (size_t at = i; at < right.size(); at += each) {
            const double value = right[at], error = answers[at] - value;
            if (!std::isfinite(answers[at])) {
                found.max_abs_error = 1e30;
            }
            found.max_abs_error = std::max(found.max_abs_error, std::abs(error));
            found.peak = std::max(found.peak, std::abs(value));
            power += (value - mean) * (value - mean);
            noise += error * error;
        }
    }
    if (found.max_abs_error >= 1e30) {
        found.max_abs_error = 1e30;
        found.sqnr_db = -cap_db;
    } else if (noise <= 0 || power <= 0) {
        found.sqnr_db = noise <= 0 ? cap_db : -cap_db;
    } else {
        found.sqnr_db = std::max(-cap_db, std::min(cap_db, 10 * std::log10(power / noise)));
    }
    return found;
}

template <typename Files>
void compare_with(const char *from, const Files &files, const std::vector<Values> &answers,
                  const std::string &folder, GoldenReport &report)
{
    if (files.empty()) { // an export that nothing has run has no answers of its own
        return;
    }
    Difference worst;
    for (size_t i = 0; i < files.size(); i++) {
        const Values right = read_raw<float>(folder + "/" + files[i], answers[i].size());
        const Difference one = compare(right, answers[i], model::golden_count);
        worst.max_abs_error = std::max(worst.max_abs_error, one.max_abs_error);
        worst.sqnr_db = i == 0 ? one.sqnr_db : std::min(worst.sqnr_db, one.sqnr_db);
        worst.peak = std::max(worst.peak, one.peak);
    }
    worst.from = from;
    report.differences.push_back(worst);
}

/** Where it ran: board, processor, system. */
Words machine()
{
    Words words;
    utsname names;
    if (uname(&names) == 0) {
        words = {{"system", names.sysname},
                 {"release", names.release},
                 {"architecture", names.machine}};
    }
    char board[128];
    if (std::FILE *file = std::fopen("/proc/device-tree/model", "rb")) {
        const size_t n = std::fread(board, 1, sizeof board - 1, file);
        std::fclose(file);
        board[n] = '\0';
        words.emplace_back("board", board);
    }
    return words;
}

std::string object_of(const Words &words)
{
    std::string text;
    for (const auto &[key, value] : words) {
        text += (text.empty() ? "" : ", ") + json_text(key) + ": " + json_text(value);
    }
    return "{" + text + "}";
}

} // namespace

double median(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    const size_t n = values.size();
    return n == 0 ? 0 : (values[(n - 1) / 2] + values[n / 2]) / 2;
}

std::string GoldenReport::describe() const
{
    std::string text;
    for (const Difference &each : differences) {
        text += format("%s: at most %.3g away, SQNR %.1f dB\n", each.from.c_str(),
                       each.max_abs_error, each.sqnr_db);
    }
    text += format("one inference: %.2f ms (median)\n", median_ms);
    return text + (ok ? "ok" : format("FAILED: more than %.3g away", allowed));
}

std::vector<Image> read_golden_inputs(const std::string &folder)
{
    const size_t places = Image::size_of(model::width, model::height, 1);
    const size_t channels = static_cast<size_t>(model::channels);
    const std::vector<uint8_t> planes = read_raw<uint8_t>(
        folder + "/" + model::golden_pixels, model::golden_count * channels * places);
    std::vector<Image> inputs;
    for (size_t n = 0; n < model::golden_count; n++) {
        Image image(model::width, model::height, model::channels);
        for (size_t c = 0; c < channels; c++) {
            for (size_t i = 0; i < places; i++) {
                image.pixels[i * channels + c] = planes[(n * channels + c) * places + i];
            }
        }
        inputs.push_back(std::move(image));
    }
    return inputs;
}

GoldenReport check_golden(Network &network, const std::string &folder)
{
    std::vector<Values> answers(model::outputs.size());
    std::vector<double> times;
    for (const Image &input : read_golden_inputs(folder)) {
        double time = 0;
        const std::vector<ep_tensor> &outputs = network.run_pixels(input, time);
        times.push_back(time);
        for (size_t i = 0; i < outputs.size(); i++) {
            const size_t before = answers[i].size();
            answers[i].resize(before + outputs[i].count);
            check(ep_read(&outputs[i], &answers[i][before], outputs[i].count));
        }
    }
    GoldenReport report;
    compare_with("export", model::golden_export, answers, folder, report);
    compare_with("pytorch", model::golden_pytorch, answers, folder, report);
    const Difference &judged = report.differences.front();
    report.allowed = model::golden_tolerance * std::max(1.0, judged.peak);
    report.ok = judged.max_abs_error <= report.allowed;
    report.median_ms = median(times);
    report.least_ms = *std::min_element(times.begin(), times.end());
    return report;
}

void write_board(const std::string &path, const GoldenReport &report, const std::string &folder,
                 const Words &versions)
{
    std::string files, differences;
    for (const model::File &file : model::files) {
        files += (files.empty() ? "" : ", ") + object_of({{"name", file.name},
                                                          {"sha256", sha256_of(folder + "/" + file.name)}});
    }
    for (const Difference &each : report.differences) {
        differences += (differences.empty() ? "" : ", ") + json_text(each.from) +
                       format(": {\"max_abs_error\": %s, \"sqnr_db\": %s, \"peak\": %s}",
                              json_number(each.max_abs_error).c_str(), json_number(each.sqnr_db).c_str(),
                              json_number(each.peak).c_str());
    }
    std::string text = "{\n  \"schema\": 1";
    const auto add = [&text](const char *key, const std::string &value) {
        text += ",\n  " + json_text(key) + ": " + value;
    };
    add("model", json_text(model::name));
    add("target", json_text(model::target));
    add("precision", json_text(model::precision));
    add("files", "[" + files + "]");
    add("golden",
        format("{\"count\": %zu, \"sha256\": %s}", model::golden_count,
               json_text(sha256_of(folder + "/" + model::golden_pixels)).c_str()));
    add("ok", report.ok ? "true" : "false");
    add("allowed", json_number(report.allowed));
    add("differences", "{" + differences + "}");
    add("infer_ms", "{\"median\": " + json_number(report.median_ms) +
                        ", \"least\": " + json_number(report.least_ms) + "}");
    add("runtime", object_of(versions));
    add("program", json_text("c++"));
    add("machine", object_of(machine()));
    text += "\n}\n";
    const std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(path.c_str(), "wb"),
                                                                std::fclose);
    if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() ||
        std::fflush(file.get()) != 0) {
        throw Failure("cannot write " + path);
    }
}
