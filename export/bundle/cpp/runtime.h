/**
 * @file runtime.h
 * @brief What a program has to know of a runtime; runtime.cpp is the only file that calls it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "edge_post.h"

/** A command line option of the runtime's own: --name VALUE. */
struct RuntimeOption {
    std::string name;
    std::string standard;
    std::string help;
};

/** The values of all RuntimeOptions, and "threads": 0 is the runtime's own choice. */
using Settings = std::map<std::string, std::string>;

/** Facts about the runtime, for board.json: at least "name" and "version". */
using Words = std::vector<std::pair<std::string, std::string>>;

class Runtime {
public:
    Runtime() = default;
    Runtime(const Runtime &) = delete;
    Runtime &operator=(const Runtime &) = delete;
    virtual ~Runtime() = default;

    /** Memory of the input, of the type and layout in model.h; asked for before each infer(). */
    virtual void *input() = 0;

    /** Run the network on what is in the input. Throws Failure. */
    virtual void infer() = 0;

    /** The outputs in the order of model.h; valid until the next infer(). */
    virtual const std::vector<ep_tensor> &outputs() const = 0;

    virtual Words versions() const = 0;
};

/** The runtime's own options. */
std::vector<RuntimeOption> runtime_options();

/** Load the network. Throws Failure. */
std::unique_ptr<Runtime> open_runtime(const std::string &folder, const Settings &settings);

/* ---- For runtime.cpp ---------------------------------------------------------------------- */

/** How many elements the input has, and how many bytes. */
size_t input_count();
size_t input_bytes();

/** The path of one of the network's files. */
std::string network_file(const std::string &folder, size_t index = 0);

/**
 * An output as model.h describes it, at an address of the runtime's. Throws Failure where it has
 * another number of elements.
 */
ep_tensor output_tensor(size_t index, const void *data, size_t count);

/** A whole number of a setting. Throws Failure. */
int whole_number(const Settings &settings, const std::string &name);

#endif
