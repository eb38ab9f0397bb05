/**
 * @brief An example: the first golden image as if a camera had given it. Put the camera here.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <cstdio>

#include "answer.h"
#include "golden.h"
#include "network.h"

int main()
{
    if (!network::init()) {
        return 2;
    }
    const ep_image image = golden::image(0);  // any size, RGB, BGR or gray
    ep_frame frame;
    if (network::fill(image, &frame) != EP_OK || !network::run() || !print_answer(frame)) {
        std::printf("the network does not run\n");
        return 1;
    }
    return 0;
}
