/* See MNNDefine.h. SPDX-License-Identifier: Apache-2.0 */
#ifndef MNN_TENSOR_HPP
#define MNN_TENSOR_HPP

#include <cstdint>

namespace MNN {

class Tensor {
public:
    enum DimensionType { TENSORFLOW, CAFFE, CAFFE_C4 };

    Tensor(const Tensor *like, DimensionType type = CAFFE, bool allocate = true);
    ~Tensor();

    bool copyFromHostTensor(const Tensor *from);
    bool copyToHostTensor(Tensor *to) const;
    int size() const; // bytes

    template <typename T> T *host() const { return reinterpret_cast<T *>(host_); }
    int elementSize() const { return size() / ((bits_ + 7) / 8); }

private:
    uint64_t device_;
    void *interface_;
    uint8_t *host_;
    uint64_t flags_;
    uint32_t code_;
    uint8_t bits_;
    uint8_t rest_[256]; // at least as large as the library's own
};

} // namespace MNN

#endif
