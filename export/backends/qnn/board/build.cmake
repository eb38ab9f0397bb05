# SPDX-License-Identifier: Apache-2.0
# -DONNXRUNTIME_DIR=FOLDER: an unpacked release, with include/ and lib/.
set(ONNXRUNTIME_DIR "" CACHE PATH "an unpacked release of ONNX Runtime")
find_path(ONNXRUNTIME_INCLUDE onnxruntime_c_api.h
  HINTS ${ONNXRUNTIME_DIR}/include PATH_SUFFIXES onnxruntime onnxruntime/core/session)
find_library(ONNXRUNTIME_LIBRARY onnxruntime HINTS ${ONNXRUNTIME_DIR}/lib)
if(NOT ONNXRUNTIME_INCLUDE OR NOT ONNXRUNTIME_LIBRARY)
  message(FATAL_ERROR "no ONNX Runtime: unpack a release of it, and name its folder with -DONNXRUNTIME_DIR=")
endif()
target_include_directories(run SYSTEM PRIVATE ${ONNXRUNTIME_INCLUDE})
target_link_libraries(run PRIVATE ${ONNXRUNTIME_LIBRARY})
