"""PNG files with the standard library and NumPy alone, for boards without Pillow and OpenCV.

Reads every colour type and depth but interlaced files; writes 8-bit gray and rgb. After the PNG
specification (ISO/IEC 15948).

SPDX-License-Identifier: Apache-2.0
"""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PALETTE = 3


def read_png(data):
    """The pixels of a file's bytes: uint8 ``[h, w]`` (gray) or ``[h, w, 3]`` (rgb), no alpha.

    Raises:
        ValueError: it is broken, or interlaced.
    """
    try:
        chunks = _chunks(data)
        width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
        if interlaced:
            raise ValueError("interlaced PNG files need Pillow or OpenCV")
        channels = _CHANNELS[color]
        row_bytes = (width * channels * depth + 7) // 8
        packed = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8)
        rows = packed[: height * (row_bytes + 1)].reshape(height, row_bytes + 1)
        raw = _unfilter(rows, max(1, channels * depth // 8))
        samples = _unpack(raw, width * channels, depth, color != _PALETTE)
        pixels = samples.reshape(height, width, channels)
        if color == _PALETTE:
            palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
            return palette[pixels[..., 0]]
    except (KeyError, struct.error, zlib.error, IndexError) as error:
        raise ValueError("not a PNG file that can be read: %r" % error) from None
    return np.ascontiguousarray(pixels[..., 0] if channels < 3 else pixels[..., :3])


def write_png(path, pixels):
    """Write uint8 ``[h, w]`` (gray) or ``[h, w, 3]`` (rgb)."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(SIGNATURE)
        compressed = zlib.compress(filtered.tobytes(), 1)
        for kind, body in ((b"IHDR", header), (b"IDAT", compressed), (b"IEND", b"")):
            file.write(struct.pack(">I", len(body)) + kind + body)
            file.write(struct.pack(">I", zlib.crc32(kind + body)))


def _chunks(data):
    """The contents of a file's chunks by kind; those of one kind are joined."""
    chunks, place = {}, len(SIGNATURE)
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        chunks[kind] = chunks.get(kind, b"") + data[place + 8 : place + 8 + size]
        place += size + 12
    return chunks


def _unfilter(rows, step):
    """The bytes of all rows, ``[h, n]``, from those with a filter's number in front.

    ``step`` is the distance of a byte to that of the pixel before.
    """
    raw = np.zeros((len(rows), rows.shape[1] - 1), np.uint8)
    above = np.zeros(raw.shape[1], np.uint8)
    for index, row in enumerate(rows):
        kind, values = row[0], row[1:]
        if kind == 0:
            raw[index] = values
        elif kind == 1:
            for channel in range(step):
                raw[index, channel::step] = np.cumsum(values[channel::step], dtype=np.uint8)
        elif kind == 2:
            raw[index] = values + above
        elif kind in (3, 4):
            raw[index] = _predict(values.tolist(), above.tolist(), step, kind)
        else:
            raise ValueError("filter %d is no filter of PNG" % kind)
        above = raw[index]
    return raw


def _predict(values, above, step, kind):
    """A row whose filter looks at the pixel before: the mean (3), or Paeth's (4)."""
    row = [0] * len(values)
    for i, value in enumerate(values):
        left, up = (row[i - step] if i >= step else 0), above[i]
        if kind == 3:
            guess = (left + up) // 2
        else:
            corner = above[i - step] if i >= step else 0
            to_left, to_up = abs(up - corner), abs(left - corner)
            to_corner = abs(left + up - 2 * corner)
            if to_left <= to_up and to_left <= to_corner:
                guess = left
            else:
                guess = up if to_up <= to_corner else corner
        row[i] = (value + guess) & 255
    return row


def _unpack(raw, count, depth, scaled):
    """Samples of any depth as uint8, ``count`` a row; ``scaled``: to the range 0..255."""
    if depth == 8:
        return raw
    if depth == 16:
        return raw[:, ::2]
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    samples = (raw[:, :, None] >> shifts) & (2**depth - 1)
    samples = samples.reshape(len(raw), -1)[:, :count]
    return (samples * (255 // (2**depth - 1))).astype(np.uint8) if scaled else samples
