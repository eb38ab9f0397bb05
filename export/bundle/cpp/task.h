/**
 * @file task.h
 * @brief What an answer is; task.cpp knows the task, and no other file does.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TASK_H
#define TASK_H

#include <memory>
#include <string>
#include <vector>

#include "edge_post.h"
#include "image.h"
#include "model.h"

/** What the user may change; the standard is in model.h. */
struct TaskOptions {
    float score = model::score_threshold;
    float iou = model::iou_threshold;
    int top = 5;
};

class Answer {
public:
    Answer() = default;
    Answer(const Answer &) = delete;
    Answer &operator=(const Answer &) = delete;
    virtual ~Answer() = default;

    /** One line of text; empty where nothing was found. */
    virtual std::string describe() const = 0;

    /** Members of a JSON object, without its braces. */
    virtual std::string json() const = 0;

    /** Draw into an RGB image of the size that was asked about. */
    virtual void draw(Image &canvas) const = 0;

    /** Write beside a drawn image what JSON does not hold; `stem` is its path without suffix. */
    virtual void save(const std::string &stem) const { (void)stem; }
};

/** What the network's outputs mean. Throws Failure. */
std::unique_ptr<Answer> read_answer(const std::vector<ep_tensor> &outputs, const ep_frame &frame,
                                    const TaskOptions &options);

#endif
