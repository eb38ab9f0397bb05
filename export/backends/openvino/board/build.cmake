# SPDX-License-Identifier: Apache-2.0
find_package(OpenVINO REQUIRED COMPONENTS Runtime)
target_link_libraries(run PRIVATE openvino::runtime::c)
