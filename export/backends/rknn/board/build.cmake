# SPDX-License-Identifier: Apache-2.0
# -DRKNN_API=FOLDER: rknpu2/runtime/Linux/librknn_api (or Android) of Rockchip's rknn-toolkit2.
set(RKNN_API "" CACHE PATH "a folder with include/rknn_api.h and ARCHITECTURE/librknnrt.so")
find_path(RKNN_INCLUDE rknn_api.h HINTS ${RKNN_API}/include NO_CMAKE_FIND_ROOT_PATH)
find_library(RKNN_LIBRARY rknnrt NO_CMAKE_FIND_ROOT_PATH HINTS
  ${RKNN_API}/${CMAKE_SYSTEM_PROCESSOR} ${RKNN_API}/${CMAKE_ANDROID_ARCH_ABI} ${RKNN_API}/lib)
if(NOT RKNN_INCLUDE OR NOT RKNN_LIBRARY)
  message(FATAL_ERROR "no rknn_api.h or librknnrt.so: name their folder with -DRKNN_API=")
endif()
target_include_directories(run SYSTEM PRIVATE ${RKNN_INCLUDE})
target_link_libraries(run PRIVATE ${RKNN_LIBRARY})
