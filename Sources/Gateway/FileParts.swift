// FileParts — what the answers with files are put together from: pieces of files, ranges, and the parts of several ranges.

import HTTPModel
import Kernel
import Memory
import Policy
import Wire

extension OpenFile {
  /// As the other, into a buffer.
  func read(at offset: Int, limit: Int, into buffer: inout Buffer) -> Transfer { buffer.fill { read(at: offset, limit: limit, into: &$0) } }
}

extension Buffer {
  mutating func append(copying other: borrowing Buffer) { append(other.bytes) }

  mutating func append(_ type: Extent, of types: borrowing MediaTypes) { append(types.text.bytes.extracting(type.lower..<type.upper)) }

  /// Appends `Content-Range` as a line.
  mutating func append(contentRange range: ByteRange, of size: Int) {
    append("Content-Range: bytes ")
    append(decimal: range.start)
    append("-")
    append(decimal: range.start + range.count - 1)
    append("/")
    append(decimal: size)
    append("\r\n")
  }

  /// Appends the head of a part of `multipart/byteranges` (RFC 9110 §14.6). Needs 200 bytes and the length of `type`.
  mutating func append(partOf range: ByteRange, _ size: Int, boundary: UInt64, type: Extent, of types: borrowing MediaTypes) {
    append("\r\n--")
    append(hexadecimal: boundary)
    append("\r\n")
    if !type.isEmpty {
      append("Content-Type: ")
      append(type, of: types)
      append("\r\n")
    }
    append(contentRange: range, of: size)
    append("\r\n")
  }

  mutating func append(endOfParts boundary: UInt64) {
    append("\r\n--")
    append(hexadecimal: boundary)
    append("--\r\n")
  }
}
