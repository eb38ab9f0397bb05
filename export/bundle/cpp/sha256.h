/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHA256_H
#define SHA256_H

#include <string>

/** The SHA-256 of a file as 64 hexadecimal digits; empty where it cannot be read. */
std::string sha256_of(const std::string &path);

#endif
