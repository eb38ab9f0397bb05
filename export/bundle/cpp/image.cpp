/* SPDX-License-Identifier: Apache-2.0 */
#include "image.h"

#include <cstdio>
#include <cstring>
#include <memory>

#include "codecs.h"
#include "failure.h"

namespace {

constexpr int greatest_side = 65535;

using File = std::unique_ptr<std::FILE, int (*)(std::FILE *)>;
using Bytes = std::vector<uint8_t>;

File open_file(const std::string &path, const char *mode)
{
    File file(std::fopen(path.c_str(), mode), std::fclose);
    if (!file) {
        throw Failure("cannot open " + path);
    }
    return file;
}

Bytes read_bytes(const std::string &path)
{
    const File file = open_file(path, "rb");
    Bytes data;
    uint8_t block[1 << 16];
    for (size_t n; (n = std::fread(block, 1, sizeof block, file.get())) > 0;) {
        data.insert(data.end(), block, block + n);
    }
    if (std::ferror(file.get())) {
        throw Failure("cannot read " + path);
    }
    return data;
}

void check_size(int64_t width, int64_t height)
{
    if (width < 1 || height < 1 || width > greatest_side || height > greatest_side) {
        throw Failure("an image of impossible size");
    }
}

/** The next number of a PPM's header; comments are skipped. */
int number_at(const Bytes &data, size_t &place)
{
    while (place < data.size() && (std::strchr(" \t\r\n#", data[place]) != nullptr)) {
        if (data[place] == '#') {
            while (place < data.size() && data[place] != '\n') {
                place++;
            }
        } else {
            place++;
        }
    }
    int value = 0, digits = 0;
    for (; place < data.size() && data[place] >= '0' && data[place] <= '9' && digits < 6; place++) {
        value = 10 * value + (data[place] - '0');
        digits++;
    }
    return digits > 0 ? value : -1;
}

Image read_netpbm(const Bytes &data)
{
    size_t place = 2;
    const int width = number_at(data, place), height = number_at(data, place);
    const int greatest = number_at(data, place);
    check_size(width, height);
    Image image(width, height, data[1] == '6' ? 3 : 1);
    place++; // one blank after the header
    if (greatest != 255 || place > data.size() || data.size() - place < image.pixels.size()) {
        throw Failure("not an 8-bit PPM or PGM file, or a truncated one");
    }
    std::memcpy(image.pixels.data(), &data[place], image.pixels.size());
    return image;
}

uint32_t little(const Bytes &data, size_t at, size_t bytes)
{
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value |= static_cast<uint32_t>(data[at + i]) << (8 * i);
    }
    return value;
}

/** Uncompressed BMP of 8 (palette), 24 or 32 bits. */
Image read_bmp(const Bytes &data)
{
    if (data.size() < 54) {
        throw Failure("a truncated BMP file");
    }
    const size_t offset = little(data, 10, 4), header = little(data, 14, 4);
    const auto width = static_cast<int32_t>(little(data, 18, 4));
    const auto signed_height = static_cast<int32_t>(little(data, 22, 4));
    const size_t bits = little(data, 28, 2);
    const uint32_t compression = little(data, 30, 4);
    const bool from_top = signed_height < 0;
    const int64_t height = from_top ? -static_cast<int64_t>(signed_height) : signed_height;
    check_size(width, height);
    if ((bits != 8 && bits != 24 && bits != 32) ||
        (compression != 0 && !(compression == 3 && bits == 32))) {
        throw Failure("a BMP file of a kind that is not read: 8, 24 or 32 bits, uncompressed");
    }
    const size_t row = ((static_cast<size_t>(width) * bits + 31) / 32) * 4;
    const size_t palette = 14 + header;
    if (header < 40 || offset > data.size() || (data.size() - offset) / row < static_cast<size_t>(height) ||
        (bits == 8 && palette > offset)) {
        throw Failure("a truncated BMP file");
    }
    Image image(width, static_cast<int>(height), 3);
    for (int y = 0; y < image.height; y++) {
        const size_t line = static_cast<size_t>(from_top ? y : image.height - 1 - y);
        for (int x = 0; x < width; x++) {
            size_t at = offset + line * row + static_cast<size_t>(x) * (bits / 8);
            if (bits == 8) {
                at = palette + 4 * static_cast<size_t>(data[at]);
                if (at + 3 > offset) {
                    throw Failure("a BMP file whose palette lacks a colour");
                }
            }
            uint8_t *pixel = image.at(x, y);
            pixel[0] = data[at + 2];
            pixel[1] = data[at + 1];
            pixel[2] = data[at];
        }
    }
    return image;
}

void write_bytes(const std::string &path, const Bytes &data)
{
    const File file = open_file(path, "wb");
    if (std::fwrite(data.data(), 1, data.size(), file.get()) != data.size() ||
        std::fflush(file.get()) != 0) {
        throw Failure("cannot write " + path);
    }
}

void put(Bytes &data, uint32_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        data.push_back(static_cast<uint8_t>(value >> (8 * i)));
    }
}

void write_bmp(const std::string &path, const Image &given)
{
    const Image image = to_rgb(given);
    const size_t row = (3 * static_cast<size_t>(image.width) + 3) / 4 * 4;
    const auto size = static_cast<uint32_t>(row * static_cast<size_t>(image.height));
    Bytes data{'B', 'M'};
    put(data, 54 + size, 4);
    put(data, 0, 4);
    put(data, 54, 4); // where the pixels begin
    put(data, 40, 4); // size of the second header
    put(data, static_cast<uint32_t>(image.width), 4);
    put(data, static_cast<uint32_t>(image.height), 4);
    put(data, 1, 2);
    put(data, 24, 2);
    put(data, 0, 4);
    put(data, size, 4);
    put(data, 0, 4);
    put(data, 0, 4);
    put(data, 0, 4);
    put(data, 0, 4);
    for (int y = image.height - 1; y >= 0; y--) {
        for (int x = 0; x < image.width; x++) {
            const uint8_t *pixel = image.at(x, y);
            data.insert(data.end(), {pixel[2], pixel[1], pixel[0]});
        }
        data.insert(data.end(), row - 3 * static_cast<size_t>(image.width), uint8_t{0});
    }
    write_bytes(path, data);
}

void write_netpbm(const std::string &path, const Image &image)
{
    char head[48];
    const int n = std::snprintf(head, sizeof head, "P%c\n%d %d\n255\n",
                                image.channels == 3 ? '6' : '5', image.width, image.height);
    Bytes data(head, head + n);
    data.insert(data.end(), image.pixels.begin(), image.pixels.end());
    write_bytes(path, data);
}

bool starts_with(const Bytes &data, const char *text)
{
    const size_t n = std::strlen(text);
    return data.size() >= n && std::memcmp(data.data(), text, n) == 0;
}

} // namespace

std::string suffix_of(const std::string &name)
{
    const size_t dot = name.find_last_of("./\\");
    std::string suffix = dot == std::string::npos || name[dot] != '.' ? "" : name.substr(dot);
    for (char &c : suffix) {
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return suffix;
}

bool is_image_name(const std::string &name)
{
    const std::string suffix = suffix_of(name);
    for (const char *known : {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff"}) {
        if (suffix == known) {
            return true;
        }
    }
    return false;
}

std::string drawn_suffix() { return writes_png() ? ".png" : ".bmp"; }

std::string mask_suffix() { return writes_png() ? ".png" : ".pgm"; }

Image to_rgb(const Image &image)
{
    if (image.channels == 3) {
        return image;
    }
    Image rgb(image.width, image.height, 3);
    for (size_t i = 0; i < image.pixels.size(); i++) {
        std::memset(&rgb.pixels[3 * i], image.pixels[i], 3);
    }
    return rgb;
}

Image read_image(const std::string &path)
{
    try {
        const Bytes data = read_bytes(path);
        if (starts_with(data, "P5") || starts_with(data, "P6")) {
            return read_netpbm(data);
        }
        if (starts_with(data, "BM")) {
            return read_bmp(data);
        }
        return decode_image(data);
    } catch (const Failure &failure) {
        throw Failure("cannot read the image " + path + ": " + failure.what());
    }
}

void write_image(const std::string &path, const Image &image)
{
    const std::string suffix = suffix_of(path);
    if (suffix == ".bmp") {
        write_bmp(path, image);
    } else if (suffix == ".ppm") {
        write_netpbm(path, to_rgb(image));
    } else if (suffix == ".pgm" && image.channels == 1) {
        write_netpbm(path, image);
    } else if (!encode_image(path, image)) {
        throw Failure("this program cannot write " + path + ": name a " + drawn_suffix());
    }
}
