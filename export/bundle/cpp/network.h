/**
 * @file network.h
 * @brief The network with what is before and behind it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef NETWORK_H
#define NETWORK_H

#include <memory>
#include <string>
#include <vector>

#include "edge_post.h"
#include "image.h"
#include "runtime.h"
#include "task.h"

/** Milliseconds of the parts of one frame. */
struct Times {
    double capture = 0;
    double prepare = 0;
    double infer = 0;
    double read = 0;
};

class Network {
public:
    Network(const std::string &folder, const Settings &settings)
        : runtime_(open_runtime(folder, settings))
    {
    }

    /** The answer for an image of any size. */
    std::unique_ptr<Answer> operator()(const Image &image, const TaskOptions &options,
                                       Times &times);

    /** The outputs for pixels of the input's own size and colours, interleaved. */
    const std::vector<ep_tensor> &run_pixels(const Image &pixels, double &milliseconds);

    Words versions() const { return runtime_->versions(); }

private:
    void fill(const Image &image, const ep_frame &frame, ep_order order);
    ep_frame prepare(const Image &image);

    std::unique_ptr<Runtime> runtime_;
};

/** Throws Failure for an error of edge_post's. */
void check(ep_status status);

/** Milliseconds since some moment. */
double now();

#endif
