/**
 * @brief OpenCV's dnn module on the CPU: the network from its ONNX file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "runtime.h"

#include <opencv2/core.hpp>
#include <opencv2/dnn.hpp>

#include "failure.h"
#include "model.h"

namespace {

class OpenCv : public Runtime {
public:
    OpenCv(const std::string &folder, const Settings &settings)
        : values_(input_count()), network_(read(network_file(folder)))
    {
        if (const int threads = whole_number(settings, "threads")) {
            cv::setNumThreads(threads);
        }
        network_.setPreferableBackend(cv::dnn::DNN_BACKEND_OPENCV);
        network_.setPreferableTarget(cv::dnn::DNN_TARGET_CPU);
#if CV_VERSION_MAJOR > 4 || (CV_VERSION_MAJOR == 4 && CV_VERSION_MINOR >= 7)
        // It is faster on 4.x and costs up to a digit of accuracy.
        network_.enableWinograd(whole_number(settings, "winograd") != 0);
#endif
        for (const model::Output &output : model::outputs) {
            names_.emplace_back(output.name);
        }
    }

    void *input() override { return values_.data(); }

    void infer() override
    {
        static_assert(model::input_layout == EP_NCHW && model::input_type == EP_FLOAT32,
                      "an input of another kind");
        const int shape[] = {1, model::channels, model::height, model::width};
        try {
            network_.setInput(cv::Mat(4, shape, CV_32F, values_.data()));
            network_.forward(results_, names_);
        } catch (const cv::Exception &error) {
            throw Failure("OpenCV: " + error.err);
        }
        outputs_.clear();
        for (size_t i = 0; i < model::outputs.size(); i++) {
            const cv::Mat &result = results_.at(i);
            if (result.depth() != CV_32F || !result.isContinuous()) {
                throw Failure("OpenCV: an output is not float32");
            }
            outputs_.push_back(output_tensor(i, result.data, result.total()));
        }
    }

    const std::vector<ep_tensor> &outputs() const override { return outputs_; }

    Words versions() const override
    {
        return {{"name", "opencv"}, {"version", cv::getVersionString()}};
    }

private:
    static cv::dnn::Net read(const std::string &path)
    {
        try {
            return cv::dnn::readNetFromONNX(path);
        } catch (const cv::Exception &error) {
            throw Failure("OpenCV cannot read " + path + ": " + error.err);
        }
    }

    std::vector<float> values_;
    cv::dnn::Net network_;
    std::vector<cv::String> names_;
    std::vector<cv::Mat> results_;
    std::vector<ep_tensor> outputs_;
};

} // namespace

std::vector<RuntimeOption> runtime_options()
{
    return {{"winograd", "0", "1: faster and a little less exact (from 4.7 on)"}};
}

std::unique_ptr<Runtime> open_runtime(const std::string &folder, const Settings &settings)
{
    return std::make_unique<OpenCv>(folder, settings);
}
