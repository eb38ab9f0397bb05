/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FAILURE_H
#define FAILURE_H

#include <stdexcept>
#include <string>

/** What the user can do something about: one line; the program ends with status 2. */
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

#endif
