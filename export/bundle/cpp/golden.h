/**
 * @file golden.h
 * @brief The golden inputs, run on the board: whether it answers as the export did, and as PyTorch.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <string>
#include <vector>

#include "network.h"

/** How far answers are from others; the worst of the outputs. */
struct Difference {
    std::string from;
    double max_abs_error = 0;
    double sqnr_db = 0;
    double peak = 0; // the largest magnitude of the others
};

struct GoldenReport {
    bool ok = false;
    double allowed = 0;
    std::vector<Difference> differences; // from the export's own answers first
    double median_ms = 0;
    double least_ms = 0;

    /** A few lines. */
    std::string describe() const;
};

/** The golden inputs in the network's colours, interleaved. Throws Failure. */
std::vector<Image> read_golden_inputs(const std::string &folder);

/** Run them all and compare. Throws Failure. */
GoldenReport check_golden(Network &network, const std::string &folder);

/** What `edgeark verify EXPORT --board board.json` reads. Throws Failure. */
void write_board(const std::string &path, const GoldenReport &report, const std::string &folder,
                 const Words &versions);

/** The middle of some values. */
double median(std::vector<double> values);

#endif
