/* A stand-in for MNN's header, our own writing: what a board program calls, laid out so that the
 * program runs on the real library as well. SPDX-License-Identifier: Apache-2.0 */
#ifndef MNN_DEFINE_H
#define MNN_DEFINE_H

namespace MNN {
const char *getVersion();
}

#endif
