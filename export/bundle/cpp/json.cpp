/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>

std::string json_text(const std::string &text)
{
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            result += '\\';
            result += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            result += format("\\u%04x", static_cast<unsigned>(c));
        } else {
            result += c;
        }
    }
    return result + '"';
}

std::string json_number(double value) { return std::isfinite(value) ? format("%.9g", value) : "null"; }

std::string format(const char *pattern, ...)
{
    va_list arguments, again;
    va_start(arguments, pattern);
    va_copy(again, arguments);
    const int n = std::vsnprintf(nullptr, 0, pattern, arguments);
    va_end(arguments);
    std::string text(n > 0 ? static_cast<size_t>(n) : 0, '\0');
    std::vsnprintf(&text[0], text.size() + 1, pattern, again);
    va_end(again);
    return text;
}
