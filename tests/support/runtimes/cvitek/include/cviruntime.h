/**
 * @brief The part of Sophgo's cviruntime.h that board programs call, written from its documentation.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CVIRUNTIME_H
#define CVIRUNTIME_H

#include <cstddef>
#include <cstdint>

extern "C" {

typedef int CVI_RC;
enum { CVI_RC_SUCCESS = 0, CVI_RC_FAILURE = 1 };
typedef void *CVI_MODEL_HANDLE;

/** Programs ask for its fields by functions. */
typedef struct {
    char *name;
    void *memory;
    size_t count;
    size_t bytes;
} CVI_TENSOR;

CVI_RC CVI_NN_RegisterModel(const char *file, CVI_MODEL_HANDLE *model);
CVI_RC CVI_NN_GetInputOutputTensors(CVI_MODEL_HANDLE model, CVI_TENSOR **inputs, int32_t *input_num,
                                    CVI_TENSOR **outputs, int32_t *output_num);
CVI_RC CVI_NN_Forward(CVI_MODEL_HANDLE model, CVI_TENSOR inputs[], int32_t input_num,
                      CVI_TENSOR outputs[], int32_t output_num);
CVI_RC CVI_NN_CleanupModel(CVI_MODEL_HANDLE model);
char *CVI_NN_TensorName(CVI_TENSOR *tensor);
void *CVI_NN_TensorPtr(CVI_TENSOR *tensor);
size_t CVI_NN_TensorCount(CVI_TENSOR *tensor);
size_t CVI_NN_TensorSize(CVI_TENSOR *tensor);

}

#endif
