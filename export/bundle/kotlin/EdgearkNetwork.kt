// SPDX-License-Identifier: Apache-2.0
package edgeark

import java.io.Closeable
import java.nio.ByteBuffer

/**
 * The network of a bundle, with all that is before and behind it.
 *
 * One thread at a time may use it.
 *
 * @param folder where the network's file lies, as the bundle names it.
 * @param settings of the runtime, as options of the C++ program without their dashes.
 * @throws RuntimeException there is no such network, or the runtime refuses it.
 */
class EdgearkNetwork(folder: String, settings: Map<String, String> = emptyMap()) : Closeable {
    private var handle: Long = open(folder, settings.keys.toTypedArray(), settings.values.toTypedArray())

    /**
     * The answer for an image, as members of a JSON object: classes, detections, or shares of a mask.
     *
     * @param rgba a direct buffer of `width * height` pixels of four bytes, rows from the top.
     * @param draws whether boxes or the mask are drawn into the buffer.
     */
    fun answer(rgba: ByteBuffer, width: Int, height: Int, draws: Boolean = false): String {
        check(handle != 0L) { "the network is closed" }
        require(rgba.isDirect && rgba.capacity() >= 4 * width * height) { "a direct buffer of 4 bytes a pixel" }
        return answer(handle, rgba, width, height, draws)
    }

    override fun close() {
        close(handle)
        handle = 0
    }

    private external fun open(folder: String, names: Array<String>, values: Array<String>): Long
    private external fun answer(handle: Long, rgba: ByteBuffer, width: Int, height: Int, draws: Boolean): String
    private external fun close(handle: Long)

    companion object {
        init {
            System.loadLibrary("edgeark_network")
        }
    }
}
