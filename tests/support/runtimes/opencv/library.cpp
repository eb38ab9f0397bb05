/* The stand-in's OpenCV. SPDX-License-Identifier: Apache-2.0 */
#include <opencv2/dnn.hpp>

#include "../oracle.h"

namespace cv {

Mat::Mat(int dims, const int *lengths, int type, void *values)
    : data(static_cast<unsigned char *>(values)), sizes(lengths, lengths + dims), total_(1)
{
    oracle::demand(type == CV_32F, "another type");
    for (const int length : sizes) {
        total_ *= static_cast<size_t>(length);
    }
}

void setNumThreads(int threads) { oracle::log("threads %d", threads); }

String getVersionString() { return "4.10.stand-in"; }

namespace dnn {

Net readNetFromONNX(const String &path)
{
    oracle::log("read %s", oracle::base_of(path).c_str());
    if (!oracle::exists(path.c_str())) {
        throw Exception("no file");
    }
    return {};
}

void Net::setPreferableBackend(int backend) { oracle::log("backend %d", backend); }

void Net::setPreferableTarget(int target) { oracle::log("target %d", target); }

void Net::enableWinograd(bool enabled) { oracle::log("winograd %d", enabled); }

void Net::setInput(const Mat &blob)
{
    oracle::log("input");
    const std::vector<int> wanted = {1, model::channels, model::height, model::width};
    oracle::demand(blob.sizes == wanted, "an input of another shape");
    number_ = oracle::number_of(reinterpret_cast<const float *>(blob.data));
}

void Net::forward(std::vector<Mat> &blobs, const std::vector<String> &names)
{
    oracle::log("forward %zu", names.size());
    oracle::demand(number_ >= 0, "forward before setInput");
    blobs.clear();
    for (const String &name : names) {
        auto values = std::make_shared<std::vector<float>>(oracle::answer(number_, oracle::output_of(name)));
        const int count = static_cast<int>(values->size());
        Mat blob(1, &count, CV_32F, values->data());
        blob.own = values;
        blobs.push_back(blob);
    }
}

} // namespace dnn
} // namespace cv
