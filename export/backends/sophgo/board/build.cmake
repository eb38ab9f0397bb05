# SPDX-License-Identifier: Apache-2.0
# -DTPU_SDK=FOLDER: Sophgo's tpu-sdk for the board, with include/cviruntime.h and lib/libcviruntime.so.
set(TPU_SDK "" CACHE PATH "a folder with include/cviruntime.h and lib/libcviruntime.so")
find_path(CVIRUNTIME_INCLUDE cviruntime.h HINTS ${TPU_SDK}/include NO_CMAKE_FIND_ROOT_PATH)
find_library(CVIRUNTIME_LIBRARY cviruntime HINTS ${TPU_SDK}/lib NO_CMAKE_FIND_ROOT_PATH)
if(NOT CVIRUNTIME_INCLUDE OR NOT CVIRUNTIME_LIBRARY)
  message(FATAL_ERROR "no cviruntime.h or libcviruntime.so: name their folder with -DTPU_SDK=")
endif()
target_include_directories(run SYSTEM PRIVATE ${CVIRUNTIME_INCLUDE})
target_link_libraries(run PRIVATE ${CVIRUNTIME_LIBRARY})
