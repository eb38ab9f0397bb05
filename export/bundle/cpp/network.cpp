/* SPDX-License-Identifier: Apache-2.0 */
#include "network.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>

#include "failure.h"
#include "json.h"
#include "model.h"
#include "resize.h"

void check(ep_status status)
{
    if (status != EP_OK) {
        throw Failure(std::string("the network's data: ") + ep_status_text(status));
    }
}

double now()
{
    const auto time = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(time).count();
}

size_t input_count() { return Image::size_of(model::width, model::height, model::channels); }

size_t input_bytes() { return input_count() * (model::input_type == EP_FLOAT32 ? 4 : 1); }

std::string network_file(const std::string &folder, size_t index)
{
    return folder + "/" + model::files[index].name;
}

ep_tensor output_tensor(size_t index, const void *data, size_t count)
{
    const model::Output &wanted = model::outputs[index];
    const size_t needed = Image::size_of(wanted.width, wanted.height, wanted.channels);
    if (count != needed) {
        throw Failure(format("output %s has %zu elements, not %zu: another network?", wanted.name,
                             count, needed));
    }
    return {data,          count,        wanted.type,  wanted.layout,    wanted.channels,
            wanted.height, wanted.width, wanted.scale, wanted.zero_point};
}

int whole_number(const Settings &settings, const std::string &name)
{
    const std::string &text = settings.at(name);
    char *end = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || value < 0 || value > 1000000) {
        throw Failure("--" + name + " " + text + ": a whole number is needed");
    }
    return static_cast<int>(value);
}

void Network::fill(const Image &image, const ep_frame &frame, ep_order order)
{
    const ep_image view = {image.pixels.data(),
                           image.pixels.size(),
                           Image::size_of(image.width, 1, image.channels),
                           image.width,
                           image.height,
                           image.channels,
                           order};
    ep_input input = {runtime_->input(),
                      input_count(),
                      model::input_type,
                      model::input_layout,
                      model::channels,
                      model::order,
                      model::pad_value,
                      {model::mean[0], model::mean[1], model::mean[2]},
                      {model::deviation[0], model::deviation[1], model::deviation[2]},
                      model::input_scale,
                      model::input_zero_point};
    check(ep_fill_input(&view, &frame, &input));
}

/** Where the antialiased filter is wanted, the image is resized before edge_post gets it. */
ep_frame Network::prepare(const Image &image)
{
    ep_frame frame;
    if (model::letterbox) {
        check(ep_letterbox(image.width, image.height, model::width, model::height, model::place,
                           &frame));
    } else {
        check(ep_stretch(image.width, image.height, model::width, model::height, &frame));
    }
    const bool is_resized = frame.width != image.width || frame.height != image.height;
    if (model::antialias && is_resized) {
        const Planes planes = to_planes(image, model::channels, model::order);
        const Image small = to_bytes(resized(planes, frame.width, frame.height));
        ep_frame inner = frame;
        inner.image_width = small.width;
        inner.image_height = small.height;
        fill(small, inner, model::order);
    } else {
        fill(image, frame, EP_RGB);
    }
    return frame;
}

static void require_finite(const std::vector<ep_tensor> &outputs)
{
    for (const ep_tensor &each : outputs) {
        const float *values = static_cast<const float *>(each.data);
        if (each.type == EP_FLOAT32 &&
            !std::all_of(values, values + each.count, [](float v) { return std::isfinite(v); })) {
            throw Failure("the runtime's answer holds infinite or undefined values");
        }
    }
}

std::unique_ptr<Answer> Network::operator()(const Image &image, const TaskOptions &options,
                                            Times &times)
{
    const double start = now();
    const ep_frame frame = prepare(image);
    const double ready = now();
    runtime_->infer();
    const double done = now();
    require_finite(runtime_->outputs());
    std::unique_ptr<Answer> answer = read_answer(runtime_->outputs(), frame, options);
    times.prepare = ready - start;
    times.infer = done - ready;
    times.read = now() - done;
    return answer;
}

const std::vector<ep_tensor> &Network::run_pixels(const Image &pixels, double &milliseconds)
{
    ep_frame frame;
    check(ep_stretch(pixels.width, pixels.height, model::width, model::height, &frame));
    fill(pixels, frame, model::order);
    const double start = now();
    runtime_->infer();
    milliseconds = now() - start;
    return runtime_->outputs();
}
