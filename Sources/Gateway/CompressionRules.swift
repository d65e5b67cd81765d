// CompressionRules — what is compressed, made ready: the types, the codings in their order, and encoders to use again.

import Compression
import HTTPModel
import Memory
import Plan
import Policy
import Wire

/// An encoder at work on one response.
struct Encoding: ~Copyable {
  var encoder: Encoder
  /// Something has been taken since the last flush.
  var isDirty = false

  init(_ encoder: consuming Encoder) { self.encoder = encoder }
}

struct CompressionRules: ~Copyable {
  /// Encoders at the same time; responses beyond go as they are.
  static var encoderLimit: UInt32 { 256 }
  /// Unused encoders kept, by coding.
  private static var idleLimit: Int { 16 }

  let order: BoundedArray<ContentCoding>
  let minLength: Int
  private let plan: CompressionPlan
  /// Where in `texts` each type is; those for all subtypes end in the slash.
  private let types: BoundedArray<Extent>
  private let texts: Buffer
  private var idleGzip = Stack<Encoder>()
  private var idleZstd = Stack<Encoder>()

  init(_ plan: CompressionPlan) {
    self.plan = plan
    minLength = plan.minLength
    var order = BoundedArray<ContentCoding>(capacity: max(1, plan.order.count))
    for coding in plan.order { _ = order.append(coding == .gzip ? .gzip : coding == .brotli ? .brotli : .zstd) }
    self.order = order
    var bytes: [UInt8] = []
    var types = BoundedArray<Extent>(capacity: max(1, plan.types.count))
    for type in plan.types {
      let start = bytes.count
      bytes += (type.hasSuffix("/*") ? String(type.dropLast()) : type).utf8
      _ = types.append(Extent(start..<bytes.count))
    }
    self.types = types
    var texts = Buffer(capacity: max(1, bytes.count))
    texts.append(bytes.span)
    self.texts = texts
  }

  /// Whether content of this type, parameters aside, is compressed.
  func includes(_ value: Span<UInt8>) -> Bool {
    var end = 0
    while end < value.count, value[end] != 0x3b, value[end] != 0x20, value[end] != 0x09 { end += 1 }
    let type = value.extracting(first: end)
    // What comes now and then must not wait for more.
    if type.equalsIgnoringCase("text/event-stream") { return false }
    for index in 0..<types.count {
      let pattern = types.span[index].text(in: texts.bytes)
      if pattern.count > 0, pattern[pattern.count - 1] == 0x2f {
        if type.count > pattern.count, type.extracting(first: pattern.count).equalsIgnoringCase(pattern) { return true }
      } else if type.equalsIgnoringCase(pattern) {
        return true
      }
    }
    return false
  }

  func includes(_ type: Extent, of types: borrowing MediaTypes) -> Bool { includes(types.text.bytes.extracting(type.lower..<type.upper)) }

  mutating func take(_ coding: ContentCoding) -> Encoder? {
    if coding == .gzip, let idle = idleGzip.popLast() { return idle }
    if coding == .zstd, let idle = idleZstd.popLast() { return idle }
    return Encoder(coding, level: level(coding))
  }

  /// Keeps an encoder for the next response, where it can be used again and not enough are there.
  mutating func recycle(_ encoder: consuming Encoder) {
    var encoder = encoder
    switch encoder.coding {
    case .gzip where idleGzip.count < Self.idleLimit: if encoder.reset() { idleGzip.append(encoder) }
    case .zstd where idleZstd.count < Self.idleLimit: if encoder.reset() { idleZstd.append(encoder) }
    default: break
    }
  }

  private func level(_ coding: ContentCoding) -> Int {
    switch coding {
    case .gzip, .identity: plan.gzipLevel
    case .brotli: plan.brotliLevel
    case .zstd: plan.zstdLevel
    }
  }
}
