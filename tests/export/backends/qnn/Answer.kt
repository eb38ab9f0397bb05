// SPDX-License-Identifier: Apache-2.0
import edgeark.EdgearkNetwork
import java.io.File
import java.nio.ByteBuffer

/** What an app does: FOLDER RGBA WIDTH HEIGHT [SETTING VALUE]... prints the answer, draws into the file. */
fun main(arguments: Array<String>) {
    val (folder, file, width, height) = arguments
    val bytes = File(file).readBytes()
    val pixels = ByteBuffer.allocateDirect(bytes.size)
    pixels.put(bytes)
    val settings = arguments.drop(4).chunked(2).associate { Pair(it[0], it[1]) }
    EdgearkNetwork(folder, settings).use { network ->
        println("{" + network.answer(pixels, width.toInt(), height.toInt(), true) + "}")
    }
    pixels.rewind()
    pixels.get(bytes)
    File(file).writeBytes(bytes)
}
