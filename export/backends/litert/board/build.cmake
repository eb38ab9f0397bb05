# SPDX-License-Identifier: Apache-2.0
# -DTFLITE_DIR=FOLDER: TensorFlow's sources, with libtensorflowlite_c.so anywhere named below.
set(TFLITE_DIR "" CACHE PATH "a folder with tensorflow/lite/c/c_api.h, and the library")
find_path(TFLITE_INCLUDE tensorflow/lite/c/c_api.h HINTS ${TFLITE_DIR} ${TFLITE_DIR}/include)
find_library(TFLITE_LIBRARY NAMES tensorflowlite_c HINTS
  ${TFLITE_DIR} ${TFLITE_DIR}/lib ${TFLITE_DIR}/build ${TFLITE_DIR}/bazel-bin/tensorflow/lite/c)
if(NOT TFLITE_INCLUDE OR NOT TFLITE_LIBRARY)
  message(FATAL_ERROR "no libtensorflowlite_c.so: build it, and name its folder with -DTFLITE_DIR=")
endif()
target_include_directories(run SYSTEM PRIVATE ${TFLITE_INCLUDE})
target_link_libraries(run PRIVATE ${TFLITE_LIBRARY})
