# SPDX-License-Identifier: Apache-2.0
find_package(ncnn REQUIRED)  # -Dncnn_DIR=FOLDER/lib/cmake/ncnn
target_link_libraries(run PRIVATE ncnn)
