// SPDX-License-Identifier: Apache-2.0
package edgeark

import android.graphics.Bitmap
import java.nio.ByteBuffer

/** The answer for a bitmap, as [EdgearkNetwork.answer] gives it, and the bitmap with it drawn in. */
fun EdgearkNetwork.answer(bitmap: Bitmap): Pair<String, Bitmap> {
    val drawn = bitmap.copy(Bitmap.Config.ARGB_8888, true) // its bytes are red, green, blue, alpha
    val pixels = ByteBuffer.allocateDirect(4 * drawn.width * drawn.height)
    drawn.copyPixelsToBuffer(pixels)
    val json = answer(pixels, drawn.width, drawn.height, true)
    pixels.rewind()
    drawn.copyPixelsFromBuffer(pixels)
    return Pair(json, drawn)
}
