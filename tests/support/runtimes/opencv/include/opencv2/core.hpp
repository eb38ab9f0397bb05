/* A stand-in for OpenCV's headers, our own writing: what a board program calls of core and dnn.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef OPENCV_CORE_HPP
#define OPENCV_CORE_HPP

#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#define CV_VERSION_MAJOR 4
#define CV_VERSION_MINOR 10
#define CV_32F 5

namespace cv {

using String = std::string;

class Exception : public std::exception {
public:
    explicit Exception(String text) : err(std::move(text)) {}
    const char *what() const noexcept override { return err.c_str(); }
    String err;
};

class Mat {
public:
    Mat() = default;
    Mat(int dims, const int *sizes, int type, void *values);
    unsigned char *data = nullptr;
    int depth() const { return CV_32F; }
    bool isContinuous() const { return true; }
    size_t total() const { return total_; }

    std::vector<int> sizes;
    std::shared_ptr<std::vector<float>> own;

private:
    size_t total_ = 0;
};

void setNumThreads(int threads);
String getVersionString();

} // namespace cv

#endif
