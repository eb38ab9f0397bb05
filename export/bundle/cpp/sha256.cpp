/* SHA-256 as FIPS 180-4 describes it. SPDX-License-Identifier: Apache-2.0 */
#include "sha256.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>

#include "json.h"

namespace {

uint32_t turned(uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

/** The first 32 bits of the fraction of a root. */
uint32_t fraction_of(long double root)
{
    return static_cast<uint32_t>((root - std::floor(root)) * 4294967296.0L);
}

struct Constants {
    uint32_t first[8];
    uint32_t rounds[64];

    /** The square and the cube roots of the first primes. */
    Constants()
    {
        int found = 0;
        for (int n = 2; found < 64; n++) {
            bool is_prime = true;
            for (int d = 2; d * d <= n; d++) {
                is_prime = is_prime && n % d != 0;
            }
            if (is_prime) {
                if (found < 8) {
                    first[found] = fraction_of(std::sqrt(static_cast<long double>(n)));
                }
                rounds[found++] = fraction_of(std::cbrt(static_cast<long double>(n)));
            }
        }
    }
};

class Digest {
public:
    void add(const uint8_t *data, size_t size)
    {
        length_ += size;
        for (size_t i = 0; i < size; i++) {
            block_[filled_++] = data[i];
            if (filled_ == sizeof block_) {
                mix();
            }
        }
    }

    std::string finish()
    {
        const uint64_t bits = 8 * length_;
        const uint8_t one = 0x80, zero = 0;
        add(&one, 1);
        while (filled_ != 56) {
            add(&zero, 1);
        }
        for (int shift = 56; shift >= 0; shift -= 8) {
            const uint8_t byte = static_cast<uint8_t>(bits >> shift);
            add(&byte, 1);
        }
        std::string text;
        for (const uint32_t word : state_) {
            text += format("%08x", static_cast<unsigned>(word));
        }
        return text;
    }

    Digest() { std::memcpy(state_, constants().first, sizeof state_); }

private:
    static const Constants &constants()
    {
        static const Constants made;
        return made;
    }

    void mix()
    {
        uint32_t w[64];
        for (size_t i = 0; i < 16; i++) {
            w[i] = 0;
            for (size_t byte = 0; byte < 4; byte++) {
                w[i] = (w[i] << 8) | block_[4 * i + byte];
            }
        }
        for (size_t i = 16; i < 64; i++) {
            const uint32_t a = turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ (w[i - 15] >> 3);
            const uint32_t b = turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ (w[i - 2] >> 10);
            w[i] = w[i - 16] + a + w[i - 7] + b;
        }
        uint32_t s[8];
        std::memcpy(s, state_, sizeof s);
        for (size_t i = 0; i < 64; i++) {
            const uint32_t e = turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25);
            const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
            const uint32_t one = s[7] + e + choice + constants().rounds[i] + w[i];
            const uint32_t a = turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22);
            const uint32_t most = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
            std::memmove(&s[1], &s[0], 7 * sizeof s[0]);
            s[4] += one;
            s[0] = one + a + most;
        }
        for (size_t i = 0; i < 8; i++) {
            state_[i] += s[i];
        }
        filled_ = 0;
    }

    uint32_t state_[8];
    uint8_t block_[64];
    size_t filled_ = 0;
    uint64_t length_ = 0;
};

} // namespace

std::string sha256_of(const std::string &path)
{
    const std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(path.c_str(), "rb"),
                                                                std::fclose);
    if (!file) {
        return "";
    }
    Digest digest;
    uint8_t block[1 << 14];
    for (size_t n; (n = std::fread(block, 1, sizeof block, file.get())) > 0;) {
        digest.add(block, n);
    }
    return digest.finish();
}
