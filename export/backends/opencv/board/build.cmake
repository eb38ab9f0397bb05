# SPDX-License-Identifier: Apache-2.0
find_package(OpenCV REQUIRED COMPONENTS core dnn)
target_include_directories(run SYSTEM PRIVATE ${OpenCV_INCLUDE_DIRS})
target_link_libraries(run PRIVATE ${OpenCV_LIBS})
