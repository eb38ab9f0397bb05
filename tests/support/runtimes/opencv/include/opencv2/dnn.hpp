/* See core.hpp. SPDX-License-Identifier: Apache-2.0 */
#ifndef OPENCV_DNN_HPP
#define OPENCV_DNN_HPP

#include <opencv2/core.hpp>

namespace cv {
namespace dnn {

enum Backend { DNN_BACKEND_OPENCV = 3 };
enum Target { DNN_TARGET_CPU = 0 };

class Net {
public:
    void setPreferableBackend(int backend);
    void setPreferableTarget(int target);
    void enableWinograd(bool enabled);
    void setInput(const Mat &blob);
    void forward(std::vector<Mat> &blobs, const std::vector<String> &names);

private:
    int number_ = -1;
};

Net readNetFromONNX(const String &path);

} // namespace dnn
} // namespace cv

#endif
