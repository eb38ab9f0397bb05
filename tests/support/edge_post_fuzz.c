/* Random calls of every function of the library, in buffers of exactly the size that is needed.
 *
 * edge_post_fuzz ITERATIONS SEED: under the sanitizers it finds what reads or writes too far;
 * without them it prints totals that are the same on every machine, up to the last bits of expf.
 * Numbers are now and then NaN, infinite or huge, and a call in eight has a wrong argument: it may
 * be refused, and must do no harm.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge_post.h"

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "line %d: not true: %s\n", __LINE__, #condition);          \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

static uint32_t state;
static bool sabotaged; /* this iteration's arguments are not all right */
static double totals[8];

static uint32_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static int32_t between(int32_t low, int32_t high)
{
    return low + (int32_t)(draw() % (uint32_t)(high - low + 1));
}

static float unit(void)
{
    return (float)(draw() >> 8) / 16777216.0f;
}

static float any_float(void)
{
    uint32_t bits = draw();
    float value = (unit() - 0.6f) * 12.0f;

    if (between(0, 200) == 0) {
        memcpy(&value, &bits, sizeof(value));
    }
    return value;
}

static int32_t any_int(void)
{
    static const int32_t nasty[] = {0, -1, 1, 2, 3, 7, 255, 256, 65535, 65536, INT32_MAX, INT32_MIN};

    return nasty[draw() % 12u];
}

/** One argument in so many is wrong, in an iteration that was chosen for it. */
static void spoil(int32_t *value)
{
    if (sabotaged && (between(0, 15) == 0)) {
        *value = any_int();
    }
}

static void spoil_float(float *value)
{
    static const float nasty[] = {0.0f, -1.0f, 1e-45f, 3e38f, 1.0f, 2.0f};

    if (sabotaged && (between(0, 15) == 0)) {
        int32_t which = between(0, 7);
        *value = (which == 6) ? NAN : ((which == 7) ? INFINITY : nasty[which]);
    }
}

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes);

    CHECK(memory != NULL);
    return memory;
}

static void free_const(const void *memory)
{
    void *data;

    memcpy(&data, &memory, sizeof(data));
    free(data);
}

#define expect(status) expect_at(status, __LINE__)

static ep_status expect_at(ep_status status, int line)
{
    if (!sabotaged && (status != EP_OK)) {
        fprintf(stderr, "line %d: %s\n", line, ep_status_text(status));
        exit(1);
    }
    return status;
}

static void *fill_random(ep_type type, size_t count)
{
    void *memory = allocate(count * ((type == EP_FLOAT32) ? sizeof(float) : 1u));
    size_t i;

    for (i = 0; i < count; i++) {
        if (type == EP_FLOAT32) {
            ((float *)memory)[i] = any_float();
        } else {
            ((uint8_t *)memory)[i] = (uint8_t)draw();
        }
    }
    return memory;
}

static ep_tensor make_tensor(int32_t channels, int32_t height, int32_t width)
{
    ep_tensor tensor;
    int32_t type = between(0, 2);
    int32_t layout = between(0, 1);

    tensor.count = (size_t)channels * (size_t)height * (size_t)width;
    tensor.data = fill_random((ep_type)type, tensor.count);
    tensor.scale = 0.001f + (unit() * 0.1f);
    tensor.zero_point = (type == 1) ? between(-128, 127) : between(0, 255);
    spoil(&channels);
    spoil(&height);
    spoil(&width);
    spoil(&tensor.zero_point);
    spoil_float(&tensor.scale);
    spoil(&layout);
    if (type == 0) {
        tensor.zero_point = any_int(); /* ignored, as is the scale */
    } else {
        spoil(&type);
        type = (type == 0) ? 1 : type; /* the buffer has bytes */
    }
    tensor.type = (ep_type)type;
    tensor.layout = (ep_layout)layout;
    tensor.channels = channels;
    tensor.height = height;
    tensor.width = width;
    return tensor;
}

static ep_frame make_frame(void)
{
    ep_frame frame = {1, 1, 1, 1, 0, 0, 1, 1};
    int32_t size[4];
    ep_status status;
    int i;

    for (i = 0; i < 4; i++) {
        size[i] = between(1, 97);
    }
    if (between(0, 3) == 0) {
        status = ep_stretch(size[0], size[1], size[2], size[3], &frame);
    } else {
        status = ep_letterbox(size[0], size[1], size[2], size[3],
                              (between(0, 1) == 0) ? EP_CENTRED : EP_CORNER, &frame);
    }
    CHECK(status == EP_OK);
    return frame;
}

static void try_image(void)
{
    ep_frame frame = make_frame();
    ep_image image;
    ep_input input;
    int32_t type = between(0, 2);
    size_t i;

    image.width = frame.image_width;
    image.height = frame.image_height;
    image.channels = (between(0, 1) == 0) ? 1 : 3;
    image.order = (ep_order)between(0, 1);
    image.row_bytes = (size_t)(image.width * image.channels) + (draw() % 5u);
    image.bytes = (image.row_bytes * (size_t)(image.height - 1)) +
                  (size_t)(image.width * image.channels);
    image.pixels = fill_random(EP_UINT8, image.bytes);
    input.channels = (between(0, 1) == 0) ? 1 : 3;
    input.order = (ep_order)between(0, 1);
    input.layout = (ep_layout)between(0, 1);
    input.type = (ep_type)type;
    input.fill = (uint8_t)draw();
    input.scale = (type == 2) ? ((float)between(0, 1) * 0.02f) : 0.02f;
    input.zero_point = (type == 1) ? between(-128, 127) : between(0, 255);
    for (i = 0; i < 3u; i++) {
        input.mean[i] = unit() * 255.0f;
        input.deviation[i] = unit() + 0.5f;
        spoil_float(&input.mean[i]);
        spoil_float(&input.deviation[i]);
    }
    input.count = (size_t)(frame.input_width * frame.input_height * input.channels);
    input.data = fill_random(input.type, input.count);
    spoil(&image.width);
    spoil(&image.channels);
    spoil(&input.channels);
    spoil(&input.zero_point);
    spoil(&frame.x);
    spoil(&frame.y);
    spoil(&frame.width);
    spoil(&frame.height);
    spoil(&frame.image_height);
    spoil(&frame.input_width);
    spoil_float(&input.scale);
    if (expect(ep_fill_input(&image, &frame, &input)) == EP_OK) {
        for (i = 0; i < input.count; i++) {
            totals[0] += (type == 0) ? (sabotaged ? 0.0 : (double)((const float *)input.data)[i])
                                     : ((const uint8_t *)input.data)[i];
        }
    }
    free(input.data);
    free_const(image.pixels);
}

static int32_t class_count(void)
{
    static const int32_t counts[] = {1, 2, 4, 80, 300};

    return counts[draw() % 5u];
}

/** What every answer of a detector must be. */
static void check_found(ep_candidates *found, float threshold, bool fractions)
{
    ep_frame frame = make_frame();
    float iou = unit();
    uint32_t most = draw() % 20u;
    uint32_t seen = found->seen;
    uint32_t i;

    CHECK(found->count <= found->capacity);
    CHECK(found->count == ((seen < found->capacity) ? seen : found->capacity));
    spoil_float(&iou);
    if (expect(ep_nms(found, iou, most)) != EP_OK) {
        return;
    }
    CHECK((most == 0u) || (found->count <= most));
    for (i = 0; i < found->count; i++) {
        const ep_box *box = &found->boxes[i];
        CHECK((i == 0u) || (box->score <= box[-1].score));
        CHECK(box->score > threshold);
        CHECK(!fractions || (box->score <= 1.0f));
        CHECK(box->order < seen);
        totals[2] += (box->score < 1.0f) ? (double)box->score : 1.0;
        totals[3] += box->class_index;
    }
    totals[1] += found->count;
    CHECK(ep_boxes_to_image(&frame, found) == EP_OK);
    for (i = 0; i < found->count; i++) {
        const ep_box *box = &found->boxes[i];
        CHECK((box->x1 >= 0.0f) && (box->x1 <= box->x2) && (box->x2 <= (float)frame.image_width));
        CHECK((box->y1 >= 0.0f) && (box->y1 <= box->y2) && (box->y2 <= (float)frame.image_height));
        totals[4] += (double)(box->x1 + box->y1 + box->x2 + box->y2);
    }
}

static void try_detector(void)
{
    uint32_t capacity = 1u + (draw() % 60u);
    ep_box *memory = allocate(capacity * sizeof(ep_box));
    ep_candidates found;
    int32_t kind = between(0, 3);
    int32_t classes = class_count();
    int32_t height = between(1, 9);
    int32_t width = between(1, 9);
    int32_t anchors = between(1, 4);
    int32_t bins = between(1, 17);
    float threshold = (between(0, 9) == 0) ? 0.0f : unit();
    float stride = (float)(8 << between(0, 3));
    ep_scores scores = (ep_scores)((kind == 0) ? 0 : between(0, 1));
    int32_t channels[3] = {4, 1, 0};
    ep_tensor maps[3];
    float *sizes = allocate((size_t)anchors * 2u * sizeof(float));
    int32_t i;
    ep_status status;

    for (i = 0; i < (2 * anchors); i++) {
        sizes[i] = 1.0f + (unit() * 100.0f);
    }
    channels[2] = classes;
    channels[0] = (kind == 0) ? (anchors * (5 + classes)) : channels[0];
    channels[0] = (kind == 2) ? (5 + classes) : channels[0];
    channels[0] = (kind == 3) ? (4 * bins) : channels[0];
    for (i = 0; i < 3; i++) {
        maps[i] = make_tensor(channels[i], height, width);
    }
    spoil(&classes);
    if (anchors > 1 && sabotaged) {
        anchors--; /* fewer: the array is still long enough */
    }
    spoil_float(&threshold);
    spoil_float(&stride);
    CHECK(ep_candidates_init(&found, memory, capacity) == EP_OK);
    switch (kind) {
    case 0:
        status = ep_decode_yolov5(&maps[0], sizes, anchors, classes, stride, threshold, &found);
        break;
    case 1:
        status = ep_decode_yolox(&maps[0], &maps[1], &maps[2], classes, scores, stride, threshold,
                                 &found);
        break;
    case 2:
        status = ep_decode_yolox(&maps[0], NULL, NULL, classes, scores, stride, threshold, &found);
        break;
    default:
        status = ep_decode_dfl(&maps[0], &maps[2], classes, scores, stride, threshold, &found);
        break;
    }
    CHECK((expect(status) == EP_OK) || (found.seen == 0u));
    check_found(&found, threshold, scores == EP_LOGITS);
    for (i = 0; i < 3; i++) {
        free_const(maps[i].data);
    }
    free(sizes);
    free(memory);
}

static void try_mask(void)
{
    int32_t channels = (between(0, 2) == 0) ? 1 : between(1, 21);
    int32_t height = between(1, 40); /* drawn one after another: the order counts */
    int32_t width = between(1, 40);
    ep_tensor logits = make_tensor(channels, height, width);
    ep_frame frame = make_frame();
    size_t places = logits.count;
    size_t pixels = (size_t)(frame.image_width * frame.image_height);
    uint8_t *mask = allocate(places);
    uint8_t *image_mask = allocate(pixels);
    float threshold = 0.01f + (0.98f * unit());
    size_t i;

    spoil_float(&threshold);
    if (expect(ep_mask(&logits, threshold, mask, places)) == EP_OK) {
        for (i = 0; i < ((size_t)logits.height * (size_t)logits.width); i++) {
            totals[5] += mask[i];
        }
        CHECK(expect(ep_mask_to_image(mask, logits.width, logits.height, &frame, image_mask,
                                      pixels)) == EP_OK);
    }
    if (expect(ep_logits_to_image_mask(&logits, threshold, &frame, image_mask, pixels)) == EP_OK) {
        for (i = 0; i < pixels; i++) {
            CHECK(image_mask[i] < ((logits.channels == 1) ? 2 : logits.channels));
            totals[6] += image_mask[i];
        }
    }
    free(image_mask);
    free(mask);
    free_const(logits.data);
}

static void try_classes(void)
{
    ep_tensor logits = make_tensor(class_count(), 1, 1);
    size_t n = logits.count;
    int32_t k = between(1, 8);
    int32_t found = 0;
    ep_class *best = allocate((size_t)k * sizeof(ep_class));
    float *values = allocate(n * sizeof(float));

    (void)expect(ep_softmax(&logits, values, n));
    (void)expect(ep_read(&logits, values, n));
    if (expect(ep_top_k(&logits, k, best, &found)) == EP_OK) {
        CHECK((found >= 1) && (found <= k) && (found <= logits.channels));
        CHECK(best[0].index < logits.channels);
        totals[7] += best[0].index;
    }
    free(values);
    free(best);
    free_const(logits.data);
}

int main(int argc, char **argv)
{
    long iterations = (argc > 1) ? strtol(argv[1], NULL, 10) : 1000;
    long i;

    state = (argc > 2) ? (uint32_t)strtoul(argv[2], NULL, 10) : 1u;
    for (i = 0; i < iterations; i++) {
        sabotaged = between(0, 7) == 0;
        try_image();
        try_detector();
        try_mask();
        try_classes();
    }
    for (i = 0; i < 8; i++) {
        printf("%.6g\n", totals[i]);
    }
    return 0;
}
