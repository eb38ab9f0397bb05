/* SPDX-License-Identifier: Apache-2.0 */
#include "codecs.h"

#include <cstdio>
#include <cstring>

#include "failure.h"

#if defined(WITH_OPENCV)
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#endif
#if defined(WITH_PNG)
#include <png.h>
#endif
#if defined(WITH_JPEG)
#include <csetjmp>
// libjpeg's header needs size_t and FILE before it
#include <jpeglib.h>

#include <jerror.h>
#endif

namespace {

#if defined(WITH_PNG)

bool is_png(const std::vector<uint8_t> &data)
{
    return data.size() > 8 && std::memcmp(data.data(), "\x89PNG", 4) == 0;
}

/** Transparency is dropped: the colours below it stay as they are in the file. */
Image decode_png(const std::vector<uint8_t> &data)
{
    png_image png;
    std::memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    if (png_image_begin_read_from_memory(&png, data.data(), data.size()) == 0) {
        throw Failure(png.message);
    }
    const bool is_color = (png.format & PNG_FORMAT_FLAG_COLOR) != 0;
    const size_t channels = is_color ? 3 : 1, stored = channels + 1;
    png.format = is_color ? PNG_FORMAT_RGBA : PNG_FORMAT_GA;
    if (png.width > 65535 || png.height > 65535) {
        png_image_free(&png);
        throw Failure("an image of impossible size");
    }
    std::vector<uint8_t> pixels(PNG_IMAGE_SIZE(png));
    if (png_image_finish_read(&png, nullptr, pixels.data(), 0, nullptr) == 0) {
        throw Failure(png.message);
    }
    Image image(static_cast<int>(png.width), static_cast<int>(png.height),
                static_cast<int>(channels));
    for (size_t i = 0; i < pixels.size() / stored; i++) {
        std::memcpy(&image.pixels[i * channels], &pixels[i * stored], channels);
    }
    return image;
}

bool encode_png(const std::string &path, const Image &image)
{
    png_image png;
    std::memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    png.width = static_cast<png_uint_32>(image.width);
    png.height = static_cast<png_uint_32>(image.height);
    png.format = image.channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    if (png_image_write_to_file(&png, path.c_str(), 0, image.pixels.data(), 0, nullptr) == 0) {
        throw Failure("cannot write " + path + ": " + png.message);
    }
    return true;
}

#endif

#if defined(WITH_JPEG)

struct JpegError {
    jpeg_error_mgr manager; // first: libjpeg knows this one
    std::jmp_buf back;
    char words[JMSG_LENGTH_MAX];
};

[[noreturn]] void give_up(j_common_ptr info)
{
    auto *error = reinterpret_cast<JpegError *>(info->err);
    (*info->err->format_message)(info, error->words);
    std::longjmp(error->back, 1);
}

/** Data that are wrong somewhere give a picture yet; those that end too early do not. */
void weigh(j_common_ptr info, int level)
{
    if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) {
        give_up(info);
    }
}

/** The orientation that a camera wrote into its EXIF block: 1 to 8, 1 is upright. */
int orientation_of(const uint8_t *exif, size_t size)
{
    if (size < 14 || std::memcmp(exif, "Exif\0\0", 6) != 0) {
        return 1;
    }
    const uint8_t *tiff = exif + 6;
    size -= 6;
    const bool is_little = tiff[0] == 'I';
    const auto number = [&](size_t at, size_t bytes) {
        uint32_t value = 0;
        for (size_t i = 0; i < bytes && at + i < size; i++) {
            const size_t shift = 8 * (is_little ? i : bytes - 1 - i);
            value |= static_cast<uint32_t>(tiff[at + i]) << shift;
        }
        return value;
    };
    const size_t first = number(4, 4), count = first < size ? number(first, 2) : 0;
    for (size_t i = 0; i < count; i++) {
        const size_t entry = first + 2 + 12 * i;
        if (entry + 12 <= size && number(entry, 2) == 0x0112) {
            return static_cast<int>(number(entry + 8, 2));
        }
    }
    return 1;
}

Image upright(const Image &image, int orientation)
{
    if (orientation < 2 || orientation > 8) {
        return image;
    }
    const bool is_turned = orientation > 4;
    Image turned(is_turned ? image.height : image.width, is_turned ? image.width : image.height,
                 image.channels);
    for (int y = 0; y < image.height; y++) {
        for (int x = 0; x < image.width; x++) {
            const int far_x = image.width - 1 - x, far_y = image.height - 1 - y;
            const int places[9][2] = {{x, y},     {x, y},     {far_x, y}, {far_x, far_y}, {x, far_y},
                                      {y, x},     {far_y, x}, {far_y, far_x}, {y, far_x}};
            std::memcpy(turned.at(places[orientation][0], places[orientation][1]), image.at(x, y),
                        static_cast<size_t>(image.channels));
        }
    }
    return turned;
}

/** What is changed between setjmp and longjmp lives in the caller. */
bool decode_jpeg_into(const std::vector<uint8_t> &data, JpegError &error, Image &image,
                      int &orientation)
{
    jpeg_decompress_struct info;
    info.err = jpeg_std_error(&error.manager);
    error.manager.error_exit = give_up;
    error.manager.emit_message = weigh;
    if (setjmp(error.back) != 0) {
        jpeg_destroy_decompress(&info);
        return false;
    }
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, const_cast<unsigned char *>(data.data()),
                 static_cast<unsigned long>(data.size()));
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&info, TRUE);
    info.out_color_space = info.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&info);
    for (jpeg_saved_marker_ptr each = info.marker_list; each != nullptr; each = each->next) {
        if (each->marker == JPEG_APP0 + 1) {
            orientation = orientation_of(each->data, each->data_length);
            break;
        }
    }
    image = Image(static_cast<int>(info.output_width), static_cast<int>(info.output_height),
                  info.output_components);
    while (info.output_scanline < info.output_height) {
        JSAMPROW row = image.at(0, static_cast<int>(info.output_scanline));
        jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_finish_decompress(&info);
    jpeg_destroy_decompress(&info);
    return true;
}

Image decode_jpeg(const std::vector<uint8_t> &data)
{
    JpegError error;
    Image image;
    int orientation = 1;
    if (!decode_jpeg_into(data, error, image, orientation)) {
        throw Failure(error.words);
    }
    return upright(image, orientation);
}

#endif

} // namespace

Image decode_image(const std::vector<uint8_t> &data)
{
#if defined(WITH_OPENCV)
    const cv::Mat found = data.empty() ? cv::Mat() : cv::imdecode(data, cv::IMREAD_ANYCOLOR);
    if (found.empty()) {
        throw Failure("OpenCV cannot read it");
    }
    cv::Mat pixels;
    if (found.channels() == 3) {
        cv::cvtColor(found, pixels, cv::COLOR_BGR2RGB);
    } else {
        pixels = found.isContinuous() ? found : found.clone();
    }
    Image image(pixels.cols, pixels.rows, pixels.channels());
    std::memcpy(image.pixels.data(), pixels.data, image.pixels.size());
    return image;
#else
#if defined(WITH_PNG)
    if (is_png(data)) {
        return decode_png(data);
    }
#endif
#if defined(WITH_JPEG)
    if (data.size() > 3 && data[0] == 0xff && data[1] == 0xd8) {
        return decode_jpeg(data);
    }
#endif
    (void)data;
    throw Failure("this program was built without a library for such files; it reads "
#if defined(WITH_PNG)
                  ".png, "
#endif
#if defined(WITH_JPEG)
                  ".jpg, "
#endif
                  ".bmp, .ppm and .pgm");
#endif
}

bool encode_image(const std::string &path, const Image &image)
{
#if defined(WITH_OPENCV)
    if (cv::haveImageWriter(path)) {
        const cv::Mat view(image.height, image.width, image.channels == 3 ? CV_8UC3 : CV_8UC1,
                           const_cast<uint8_t *>(image.pixels.data()));
        cv::Mat pixels = view;
        if (image.channels == 3) {
            cv::cvtColor(view, pixels, cv::COLOR_RGB2BGR);
        }
        if (!cv::imwrite(path, pixels)) {
            throw Failure("cannot write " + path);
        }
        return true;
    }
#elif defined(WITH_PNG)
    if (suffix_of(path) == ".png") {
        return encode_png(path, image);
    }
#endif
    (void)path;
    (void)image;
    return false;
}

bool writes_png()
{
#if defined(WITH_OPENCV) || defined(WITH_PNG)
    return true;
#else
    return false;
#endif
}
