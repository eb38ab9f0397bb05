/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JSON_H
#define JSON_H

#include <string>

/** A text as a JSON string, in quotes; UTF-8 stays as it is. */
std::string json_text(const std::string &text);

/** A number with 9 digits; null where JSON has none. */
std::string json_number(double value);

/** Like printf, into a string. */
std::string format(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

#endif
