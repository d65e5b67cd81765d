// Support — what the tests of WebSocket share: bytes, frames as clients send them, and what a reader makes of a stream.

import HTTPModel
import Memory
import Testing
import Wire

@testable import WebSocket

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

func array(_ span: Span<UInt8>) -> [UInt8] {
  var bytes: [UInt8] = []
  for index in span.indices { bytes.append(span[index]) }
  return bytes
}

/// A condition as it is: `#expect` takes apart what it is given, which spans and noncopyable values do not bear.
func holds(_ condition: Bool) -> Bool { condition }

/// A repeatable source of numbers.
struct Dice {
  private var state: UInt64
  init(_ seed: Int) { state = UInt64(truncatingIfNeeded: seed) &* 2 &+ 1 }

  mutating func roll(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % bound
  }

  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(roll(256)) } }
}

/// A frame as a client sends it, written by hand: first byte, length in the form it is given, key, masked payload.
func clientFrame(_ first: UInt8, _ payload: [UInt8], key: [UInt8]? = [0x37, 0xfa, 0x21, 0x3d], form: Int? = nil) -> [UInt8] {
  let mask: UInt8 = key == nil ? 0 : 0x80
  var frame = [first]
  switch form ?? (payload.count < 126 ? 7 : payload.count < 65_536 ? 16 : 64) {
  case 7: frame.append(UInt8(payload.count) | mask)
  case 16: frame += [126 | mask, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
  default: frame += [127 | mask] + (0..<8).reversed().map { UInt8(truncatingIfNeeded: payload.count >> (8 * $0)) }
  }
  guard let key else { return frame + payload }
  return frame + key + payload.enumerated().map { $1 ^ key[$0 % 4] }
}

/// What a reader has made of a stream.
struct Read: Equatable, CustomStringConvertible {
  enum Event: Equatable {
    case message(MessageKind, [UInt8])
    case ping([UInt8]), pong([UInt8]), close([UInt8])
    case failed(CloseCode)
  }

  var events: [Event] = []
  /// Payload of a message that has not ended.
  var open: [UInt8] = []

  var description: String { "\(events) then \(open)" }
}

/// Feeds `stream` in pieces, giving the reader what it has left again, and a payload buffer of `room` bytes.
func read(
  _ stream: [UInt8], pieces: [Int]? = nil, room: Int = 64, limit: Int = 0, compression: CompressionTerms? = nil
) -> Read {
  var reader = MessageReader(limit: limit, compression: compression)
  var result = Read()
  var payload = Buffer(capacity: room), scratch = Buffer(capacity: 128)
  var held: [UInt8] = []
  var start = 0
  var sizes = (pieces ?? [stream.count])[...]
  while start < stream.count || !sizes.isEmpty {
    let size = min(sizes.popFirst() ?? stream.count, stream.count - start)
    held += stream[start..<start + size]
    start += size
    var position = 0
    reading: while true {
      let event = reader.next(held.span, at: &position, into: &payload, scratch: &scratch)
      switch event {
      case .needsMore: break reading
      case .full:
        result.open += array(payload.bytes)
        payload.removeAll()
      case .message(let kind):
        result.events.append(.message(kind, result.open + array(payload.bytes)))
        result.open = []
        payload.removeAll()
      case .ping: result.events.append(.ping(array(scratch.bytes)))
      case .pong: result.events.append(.pong(array(scratch.bytes)))
      case .close:
        result.events.append(.close(array(scratch.bytes)))
        result.open = []
        return result
      case .failed(let code):
        result.events.append(.failed(code))
        // How much of it had come out before depends on the pieces.
        result.open = []
        return result
      }
    }
    held.removeFirst(position)
  }
  result.open += array(payload.bytes)
  return result
}

/// The stream of a server, as a client that checks everything reads it.
func readServer(_ stream: [UInt8], compression: CompressionTerms? = nil) -> Read {
  // Masked with zeros it is what a client would send.
  var masked: [UInt8] = []
  var position = 0
  while case .header(let header) = FrameHeader.parse(stream.span, at: position) {
    let payload = Array(stream[(position + header.size)..<(position + header.size + header.length)])
    masked += clientFrame(stream[position], payload, key: [0, 0, 0, 0])
    position += header.size + header.length
  }
  return position == stream.count ? read(masked, room: 4096, compression: compression) : Read(events: [.failed(.abnormal)])
}
