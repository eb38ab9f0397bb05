# SPDX-License-Identifier: Apache-2.0
# -DMNN_DIR=FOLDER: MNN's sources, built in FOLDER/build, or an installation of it.
set(MNN_DIR "" CACHE PATH "MNN: a folder with include/ and lib/ or build/")
find_path(MNN_INCLUDE MNN/Interpreter.hpp HINTS ${MNN_DIR}/include)
find_library(MNN_LIBRARY MNN HINTS ${MNN_DIR}/lib ${MNN_DIR}/build)
if(NOT MNN_INCLUDE OR NOT MNN_LIBRARY)
  message(FATAL_ERROR "no MNN: build it, and name its folder with -DMNN_DIR=")
endif()
target_include_directories(run SYSTEM PRIVATE ${MNN_INCLUDE})
target_link_libraries(run PRIVATE ${MNN_LIBRARY})
