/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <string>
#include <vector>

#include "runtime.h"
#include "task.h"

struct Options {
    std::vector<std::string> sources;
    std::string out;
    std::string golden; // the file to write
    std::string bundle;
    bool json = false;
    bool show = false;
    bool help = false;
    int limit = 0;
    int benchmark = 0;
    TaskOptions task;
    Settings settings;
};

/** The command line. Throws Failure. */
Options read_options(int argc, char **argv);

/** What --help prints. */
std::string usage();

#endif
