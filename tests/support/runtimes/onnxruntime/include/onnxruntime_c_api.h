/**
 * @brief A stand-in for ONNX Runtime's header: what a board program calls, in the documented places
 * of OrtApi. Our own writing; with it the program runs on the real library as well.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef ONNXRUNTIME_C_API_H
#define ONNXRUNTIME_C_API_H

#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION 22
#define ORT_API_CALL

typedef struct OrtEnv OrtEnv;
typedef struct OrtStatus OrtStatus;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtSession OrtSession;
typedef struct OrtValue OrtValue;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtEpDevice OrtEpDevice;

typedef enum OrtLoggingLevel { ORT_LOGGING_LEVEL_WARNING = 2 } OrtLoggingLevel;
typedef enum OrtAllocatorType { OrtArenaAllocator = 1 } OrtAllocatorType;
typedef enum OrtMemType { OrtMemTypeDefault = 0 } OrtMemType;
typedef enum ONNXTensorElementDataType {
    ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED = 0,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1
} ONNXTensorElementDataType;

typedef void (*OrtUnused)(void);

/* Places of functions that are not called. */
#define ORT_UNUSED(first, last) OrtUnused unused##first[(last) - (first) + 1]

typedef struct OrtApi {
    ORT_UNUSED(0, 1);
    const char *(*GetErrorMessage)(const OrtStatus *);
    OrtStatus *(*CreateEnv)(OrtLoggingLevel, const char *, OrtEnv **);
    ORT_UNUSED(4, 6);
    OrtStatus *(*CreateSession)(const OrtEnv *, const char *, const OrtSessionOptions *, OrtSession **);
    ORT_UNUSED(8, 8);
    OrtStatus *(*Run)(OrtSession *, const OrtRunOptions *, const char *const *, const OrtValue *const *,
                      size_t, const char *const *, size_t, OrtValue **);
    OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **);
    ORT_UNUSED(11, 23);
    OrtStatus *(*SetIntraOpNumThreads)(OrtSessionOptions *, int);
    ORT_UNUSED(25, 48);
    OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *, size_t, const int64_t *,
                                                 size_t, ONNXTensorElementDataType, OrtValue **);
    ORT_UNUSED(50, 50);
    OrtStatus *(*GetTensorMutableData)(OrtValue *, void **);
    ORT_UNUSED(52, 59);
    OrtStatus *(*GetTensorElementType)(const OrtTensorTypeAndShapeInfo *, ONNXTensorElementDataType *);
    ORT_UNUSED(61, 63);
    OrtStatus *(*GetTensorShapeElementCount)(const OrtTensorTypeAndShapeInfo *, size_t *);
    OrtStatus *(*GetTensorTypeAndShape)(const OrtValue *, OrtTensorTypeAndShapeInfo **);
    ORT_UNUSED(66, 68);
    OrtStatus *(*CreateCpuMemoryInfo)(OrtAllocatorType, OrtMemType, OrtMemoryInfo **);
    ORT_UNUSED(70, 91);
    void (*ReleaseEnv)(OrtEnv *);
    void (*ReleaseStatus)(OrtStatus *);
    void (*ReleaseMemoryInfo)(OrtMemoryInfo *);
    void (*ReleaseSession)(OrtSession *);
    void (*ReleaseValue)(OrtValue *);
    ORT_UNUSED(97, 98);
    void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo *);
    void (*ReleaseSessionOptions)(OrtSessionOptions *);
    ORT_UNUSED(101, 129);
    OrtStatus *(*AddSessionConfigEntry)(OrtSessionOptions *, const char *, const char *);
    ORT_UNUSED(131, 300);
    OrtStatus *(*RegisterExecutionProviderLibrary)(OrtEnv *, const char *, const char *);
    ORT_UNUSED(302, 302);
    OrtStatus *(*GetEpDevices)(const OrtEnv *, const OrtEpDevice *const **, size_t *);
    OrtStatus *(*SessionOptionsAppendExecutionProvider_V2)(OrtSessionOptions *, OrtEnv *,
                                                           const OrtEpDevice *const *, size_t,
                                                           const char *const *,
                                                           const char *const *, size_t);
    ORT_UNUSED(305, 311);
    const char *(*EpDevice_EpName)(const OrtEpDevice *);
} OrtApi;

typedef struct OrtApiBase {
    const OrtApi *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} OrtApiBase;

#ifdef __cplusplus
extern "C"
#endif
    const OrtApiBase *
    OrtGetApiBase(void);

#endif
