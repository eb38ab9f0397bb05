/**
 * @brief What task.cpp makes of outputs: float32 from a file, for an image of a size.
 *
 * read_answer OUTPUTS IMAGE_WIDTH IMAGE_HEIGHT; prints JSON.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <cstdio>
#include <cstdlib>

#include "network.h"

void check(ep_status status)
{
    if (status != EP_OK) {
        std::fprintf(stderr, "%s\n", ep_status_text(status));
        std::exit(1);
    }
}

int main(int, char **argv)
{
    std::FILE *file = std::fopen(argv[1], "rb");
    std::vector<std::vector<float>> values;
    std::vector<ep_tensor> outputs;
    for (const model::Output &o : model::outputs) {
        values.emplace_back(Image::size_of(o.width, o.height, o.channels));
        const size_t count = std::fread(values.back().data(), sizeof(float), values.back().size(), file);
        outputs.push_back({values.back().data(), count, o.type, o.layout, o.channels, o.height, o.width,
                           o.scale, o.zero_point});
    }
    std::fclose(file);
    const int width = std::atoi(argv[2]), height = std::atoi(argv[3]);
    ep_frame frame;
    check(model::letterbox
              ? ep_letterbox(width, height, model::width, model::height, model::place, &frame)
              : ep_stretch(width, height, model::width, model::height, &frame));
    const std::unique_ptr<Answer> answer = read_answer(outputs, frame, TaskOptions());
    std::printf("{%s}\n", answer->json().c_str());
    Image canvas(width, height, 3);
    answer->draw(canvas);
    answer->save(std::string(argv[1]));
    return 0;
}
