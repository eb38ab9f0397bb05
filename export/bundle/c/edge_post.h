/**
 * @file edge_post.h
 * @brief Pre- and postprocessing of neural networks on small machines, in C99.
 *
 * From a camera image to a network's input, and from a network's raw outputs to classes, boxes or
 * a mask. The library allocates nothing, keeps no state of its own, never recurses and needs
 * libc and libm alone. All memory is the caller's, so every function may run in several threads
 * at once on separate data.
 *
 * A detector in five calls:
 *
 * @code
 * static ep_box memory[512];
 * ep_candidates found;
 * ep_frame frame;
 *
 * ep_letterbox(1920, 1080, 640, 640, EP_CENTRED, &frame);
 * ep_fill_input(&image, &frame, &input);
 * ... run the network ...
 * ep_candidates_init(&found, memory, 512);
 * for each stride: ep_decode_yolov5(&map, anchors, 3, class_count, stride, 0.25f, &found);
 * ep_nms(&found, 0.45f, 100);
 * ep_boxes_to_image(&frame, &found);
 * @endcode
 *
 * found.boxes[0] to found.boxes[found.count - 1] are then the detections, best first, in pixels of
 * the image. Compile edge_post.c together with the edge_post_*.c beside it.
 *
 * Every function checks its arguments and returns an ::ep_status; on an error it has written
 * nothing. Sizes are in pixels or elements, boxes run from the outer edge of their first pixel.
 *
 * The results are those of edgeark's NumPy reference (edgeark.zoo.tasks), up to the last bits of
 * expf. Comparisons of equal bits need a compiler that does not fuse multiply and add
 * (-std=c99, or -ffp-contract=off) and no -ffast-math.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EDGE_POST_H
#define EDGE_POST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The largest width, height or number of channels. */
#define EP_MAX_SIZE 65535

/** What a function returns: 0 is success, everything else is an error. */
typedef enum {
    EP_OK = 0,
    EP_ERROR_NULL = -1,     /**< A pointer is NULL. */
    EP_ERROR_ARGUMENT = -2, /**< A number or an enumeration is out of its range. */
    EP_ERROR_SHAPE = -3,    /**< Shapes do not fit each other, the anchors or the classes. */
    EP_ERROR_MEMORY = -4    /**< A buffer is too small, or not aligned for its type. */
} ep_status;

/** How an element is stored. */
typedef enum { EP_FLOAT32 = 0, EP_INT8 = 1, EP_UINT8 = 2 } ep_type;

/** Whether a map's channels (PyTorch, ONNX) or its pixels (TFLite, RKNN) are planes. */
typedef enum { EP_NCHW = 0, EP_NHWC = 1 } ep_layout;

/** The order of three colour channels. */
typedef enum { EP_RGB = 0, EP_BGR = 1 } ep_order;

/** Where a letterboxed image lies. */
typedef enum {
    EP_CENTRED = 0, /**< In the middle; of an odd margin the larger half is right or below. */
    EP_CORNER = 1   /**< At the top left. */
} ep_place;

/** What a network's scores are. */
typedef enum {
    EP_LOGITS = 0,       /**< Raw: the decoder applies the sigmoid. */
    EP_PROBABILITIES = 1 /**< The sigmoid is in the network. */
} ep_scores;

/** A sentence of plain text for a status, without a line break; never NULL. */
const char *ep_status_text(ep_status status);

/* ---- Images and inputs ------------------------------------------------------------------ */

/** An image in memory: 8-bit pixels, interleaved, rows from the top. */
typedef struct {
    const uint8_t *pixels;
    size_t bytes;     /**< Size of the buffer. */
    size_t row_bytes; /**< From one row to the next; at least width * channels. */
    int32_t width;
    int32_t height;
    int32_t channels; /**< 1 (gray) or 3. */
    ep_order order;   /**< Of three channels. */
} ep_image;

/** Where an image lies in a network's input; made by ::ep_letterbox or ::ep_stretch. */
typedef struct {
    int32_t image_width;
    int32_t image_height;
    int32_t input_width;
    int32_t input_height;
    int32_t x; /**< Input pixels left of the image. */
    int32_t y; /**< Input pixels above it. */
    int32_t width;  /**< Of the resized image. */
    int32_t height; /**< Of the resized image. */
} ep_frame;

/**
 * A network's input, batch 1: a buffer to fill, and what the network expects in it.
 *
 * EP_FLOAT32 takes (pixel - mean) / deviation. EP_UINT8 with a scale of 0 takes pixels 0..255 as
 * they are. EP_INT8 and EP_UINT8 with a positive scale take the quantised
 * round((pixel - mean) / deviation / scale) + zero_point.
 */
typedef struct {
    void *data;
    size_t count; /**< Elements that the buffer holds. */
    ep_type type;
    ep_layout layout;
    int32_t channels; /**< 1 or 3. */
    ep_order order;   /**< Of three channels. */
    uint8_t fill;     /**< Pixel value outside of the image; 114 is usual. */
    float mean[3];      /**< Per channel of the input, in its order. */
    float deviation[3]; /**< Per channel, not 0. */
    float scale;
    int32_t zero_point;
} ep_input;

/**
 * The largest size at which an image keeps its proportions in the input, and its place there.
 *
 * A side is round(side * ratio), half to even, at least 1 pixel; small images are enlarged.
 */
ep_status ep_letterbox(int32_t image_width, int32_t image_height, int32_t input_width,
                       int32_t input_height, ep_place place, ep_frame *frame);

/** The image over the whole input, whatever its proportions. */
ep_status ep_stretch(int32_t image_width, int32_t image_height, int32_t input_width,
                     int32_t input_height, ep_frame *frame);

/**
 * Resize an image into a network's input, convert its colours and fill the margins.
 *
 * Bilinear without antialiasing, pixel centres at half-integers, 11-bit weights, rounded to
 * nearest: cv2.INTER_LINEAR to within one level, and what the 2D engines of most NPUs do. Gray
 * becomes colour by repetition, colour becomes gray by ITU-R BT.601 luminance (0.299 R + 0.587 G +
 * 0.114 B). Takes about 2 KB of stack, more than any other function here.
 *
 * @param image the image; its size is that of the frame.
 * @param frame from ::ep_letterbox or ::ep_stretch.
 * @param input its size is that of the frame.
 */
ep_status ep_fill_input(const ep_image *image, const ep_frame *frame, const ep_input *input);

/* ---- Outputs ---------------------------------------------------------------------------- */

/**
 * One output of a network, batch 1, as the runtime left it in memory.
 *
 * A vector of n scores has n channels, height 1 and width 1. The value of an integer q is
 * (q - zero_point) * scale; of EP_FLOAT32 both are ignored.
 */
typedef struct {
    const void *data;
    size_t count; /**< Elements that the buffer holds; at least channels * height * width. */
    ep_type type;
    ep_layout layout;
    int32_t channels;
    int32_t height;
    int32_t width;
    float scale; /**< Positive. */
    int32_t zero_point;
} ep_tensor;

/** Dequantise: the tensor as float, channel by channel (CHW), whatever its layout. */
ep_status ep_read(const ep_tensor *tensor, float *values, size_t capacity);

/* ---- Classification --------------------------------------------------------------------- */

/** One class of an answer. */
typedef struct {
    int32_t index;
    float score; /**< Softmax probability. */
} ep_class;

/** Softmax over all elements of a tensor, into capacity >= elements floats. */
ep_status ep_softmax(const ep_tensor *logits, float *probabilities, size_t capacity);

/**
 * The k likeliest classes, best first; of equal ones the first.
 *
 * @param logits raw scores; NaN counts as the lowest.
 * @param k how many places `best` has, 1 or more.
 * @param best receives min(k, classes) of them.
 * @param found receives how many they are.
 */
ep_status ep_top_k(const ep_tensor *logits, int32_t k, ep_class *best, int32_t *found);

/* ---- Segmentation ----------------------------------------------------------------------- */

/**
 * A mask of the map's own size from logits.
 *
 * @param logits one channel: a pixel is 1 where its sigmoid exceeds the threshold, else 0. 2 to
 *     256 channels: the index of the largest, the first of equals; the threshold is ignored.
 * @param threshold inside 0..1.
 * @param mask receives height * width values, row by row.
 * @param capacity size of `mask`.
 */
ep_status ep_mask(const ep_tensor *logits, float threshold, uint8_t *mask, size_t capacity);

/**
 * A mask resized to the image by the nearest pixel, its letterbox undone.
 *
 * @param mask height * width values over the whole input, at any resolution.
 * @param width of the mask.
 * @param height of the mask.
 * @param frame where the image lies in the input.
 * @param image_mask receives image_height * image_width values.
 * @param capacity size of `image_mask`.
 */
ep_status ep_mask_to_image(const uint8_t *mask, int32_t width, int32_t height,
                           const ep_frame *frame, uint8_t *image_mask, size_t capacity);

/**
 * A mask of the image's size from logits that are resized bilinearly before they are compared.
 *
 * The border is smooth where that of ::ep_mask_to_image has stairs; the work grows with the
 * image's pixels times the classes. Parameters as above.
 */
ep_status ep_logits_to_image_mask(const ep_tensor *logits, float threshold, const ep_frame *frame,
                                  uint8_t *image_mask, size_t capacity);

/* ---- Detection -------------------------------------------------------------------------- */

/** A scored box: corners in pixels. */
typedef struct {
    float x1;
    float y1;
    float x2;
    float y2;
    float score;
    int32_t class_index;
    uint32_t order; /**< Its number among all candidates; decides between equal scores. */
} ep_box;

/**
 * The best boxes found so far, in the caller's memory.
 *
 * Where more are found than fit, those of the highest scores stay, of equal scores the earlier
 * ones. Until ::ep_nms the boxes are in no particular order.
 */
typedef struct {
    ep_box *boxes;
    uint32_t capacity;
    uint32_t count;
    uint32_t seen; /**< All candidates above the threshold, with those that did not fit. */
} ep_candidates;

/** Begin an image: no candidates yet, room for `capacity` (at least 1) of them. */
ep_status ep_candidates_init(ep_candidates *found, ep_box *memory, uint32_t capacity);

/**
 * Add a candidate of a decoder of one's own; its `order` is set here.
 *
 * Where there is no room it stays if it is better than the worst, which then goes.
 *
 * @return EP_ERROR_ARGUMENT for a box that is not finite or a score that is NaN.
 */
ep_status ep_candidates_add(ep_candidates *found, const ep_box *box);

/**
 * Candidates from one map of a YOLOv5 head, in input pixels.
 *
 * xy = (2 sigmoid - 0.5 + cell) * stride, wh = (2 sigmoid)^2 * anchor, score = objectness times
 * the best class. For the decoders' common rules see below.
 *
 * All decoders: a place gives at most one box, of its best class (the first of equals), and only
 * with a score above the threshold. The threshold is turned into the tensor's own integers once,
 * so that places below it cost one comparison and no arithmetic. Boxes that are not finite are
 * dropped. Call a decoder once per stride, in the order of the network's outputs.
 *
 * @param map raw values, anchor_count * (5 + class_count) channels: x, y, w, h, objectness,
 *     classes for each anchor.
 * @param anchors widths and heights in input pixels: w0, h0, w1, h1, ...
 * @param anchor_count how many pairs.
 * @param class_count the network's classes.
 * @param stride input pixels per cell.
 * @param threshold 0..1.
 * @param found receives the candidates.
 */
ep_status ep_decode_yolov5(const ep_tensor *map, const float *anchors, int32_t anchor_count,
                           int32_t class_count, float stride, float threshold,
                           ep_candidates *found);

/**
 * Candidates of one stride of a YOLOX head, in input pixels.
 *
 * xy = (raw + cell) * stride, wh = exp(raw) * stride, score = objectness times the best class.
 *
 * @param box 4 channels; or 5 + class_count of all three parts, with the other two NULL.
 * @param objectness 1 channel.
 * @param classes class_count channels.
 * @param class_count the network's classes.
 * @param scores whether objectness and classes went through the sigmoid.
 * @param stride input pixels per cell.
 * @param threshold 0..1.
 * @param found receives the candidates.
 */
ep_status ep_decode_yolox(const ep_tensor *box, const ep_tensor *objectness,
                          const ep_tensor *classes, int32_t class_count, ep_scores scores,
                          float stride, float threshold, ep_candidates *found);

/**
 * Candidates of one stride of an anchor-free head with box distributions (YOLOv8, YOLO11).
 *
 * Each side of a box has `bins` channels, sides in the order left, top, right, bottom. A side's
 * distance from the cell's centre is the mean of 0 .. bins - 1 under their softmax, times the
 * stride; with a single bin it is the value itself (Li et al. 2020, "Generalized Focal Loss").
 * The score is the best class's.
 *
 * @param box 4 * bins channels.
 * @param classes class_count channels.
 * @param class_count the network's classes.
 * @param scores whether the classes went through the sigmoid.
 * @param stride input pixels per cell.
 * @param threshold 0..1.
 * @param found receives the candidates.
 */
ep_status ep_decode_dfl(const ep_tensor *box, const ep_tensor *classes, int32_t class_count,
                        ep_scores scores, float stride, float threshold, ep_candidates *found);

/**
 * Class-aware non-maximum suppression, in place.
 *
 * Greedy: a box goes where a better one of its class stays and overlaps it by more than `iou`. Of
 * equal scores the earlier box is the better one. Afterwards found->count boxes are left, best
 * first. Call ::ep_candidates_init before the next image.
 *
 * @param found from the decoders.
 * @param iou intersection over union, 0..1.
 * @param max_boxes at most so many stay; 0 is as many as there are.
 */
ep_status ep_nms(ep_candidates *found, float iou, uint32_t max_boxes);

/** Boxes in the input as boxes in the image, cut off at its edges; those without area go. */
ep_status ep_boxes_to_image(const ep_frame *frame, ep_candidates *found);

#ifdef __cplusplus
}
#endif

#endif
