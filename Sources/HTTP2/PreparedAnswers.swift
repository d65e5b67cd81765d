// PreparedAnswers — the fixed responses of a plan, ready to be handed to nghttp2 again and again.
//
// Of a response that is known in advance only the date and the id of its request change. Names and all other values are lent to
// nghttp2, which need not copy them; so is the body, from which it takes DATA as far as the windows go.
//
// Invariants: what has been appended stays where it is until the end of the worker, which no session outlives; a place is
// the index of an answer, and in the lower forty bits how much of its body has gone.

import CNghttp2
import Glibc
import HTTPModel
import Memory

/// A part of a body, taken.
struct AnswerPiece: BitwiseCopyable {
  let count: Int
  let isLast: Bool
}

/// One of them.
@safe
struct PreparedAnswer: ~Copyable {
  /// Names in lower case and values, as nghttp2 sees them; then the body.
  let text: Buffer
  let fields: UnsafeMutableBufferPointer<nghttp2_nv>
  let body: UnsafeBufferPointer<UInt8>
  /// The two among the fields that change stand at the end.
  var date: Int { unsafe fields.count - 2 }
  var id: Int { unsafe fields.count - 1 }

  init(_ text: consuming Buffer, _ places: borrowing Stack<(name: Range<Int>, value: Range<Int>)>, bodyStart: Int) {
    let copied = UInt8(NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue), lent = copied | UInt8(NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue)
    let fields = UnsafeMutableBufferPointer<nghttp2_nv>.allocate(capacity: places.count)
    // The memory of a buffer stays where it is.
    let bytes = unsafe text.bytes.withUnsafeBufferPointer { unsafe $0 }
    for index in 0..<places.count {
      let name = bytes.extracting(places[index].name), value = bytes.extracting(places[index].value)
      unsafe fields.initializeElement(
        at: index,
        to: nghttp2_nv(
          name: UnsafeMutablePointer(mutating: name.baseAddress), value: UnsafeMutablePointer(mutating: value.baseAddress), namelen: name.count,
          valuelen: value.count, flags: index < places.count - 2 ? lent : copied))
    }
    unsafe self.fields = fields
    unsafe body = bytes.extracting(bodyStart..<bytes.count)
    self.text = text
  }

  deinit { unsafe fields.deallocate() }
}

@safe
public struct PreparedAnswers: ~Copyable {
  private var answers = Stack<PreparedAnswer>()

  public init() {}

  /// Bits of a place that say how much has gone.
  private static var offsetBits: UInt64 { 40 }
  static func place(_ index: Int) -> UInt64 { UInt64(index) << offsetBits }

  /// Appends a response.
  /// - Parameters:
  ///   - fields: complete field lines, each with its CRLF; `content-length` is among them where there is to be one.
  ///   - body: empty for a status that forbids it.
  public mutating func append(_ status: Status, fields: Span<UInt8>, body: Span<UInt8>, server: Bool) {
    var text = Buffer(capacity: 128 + fields.count + body.count), places = Stack<(name: Range<Int>, value: Range<Int>)>()
    text.append(":status")
    text.append(threeDigits: status.code)
    places.append((0..<7, 7..<10))
    if server {
      text.append("servergateway")
      places.append((text.count - 13..<text.count - 7, text.count - 7..<text.count))
    }
    Self.write(fields, to: &text, &places)
    text.append("datex-request-id")
    places.append((text.count - 16..<text.count - 12, 0..<0))
    places.append((text.count - 12..<text.count, 0..<0))
    let bodyStart = text.count
    text.append(body)
    answers.append(PreparedAnswer(text, places, bodyStart: bodyStart))
  }

  /// Takes field lines apart.
  private static func write(_ lines: Span<UInt8>, to text: inout Buffer, _ places: inout Stack<(name: Range<Int>, value: Range<Int>)>) {
    var start = 0
    while start < lines.count {
      var colon = start
      while colon < lines.count, lines[colon] != 0x3a { colon += 1 }
      var end = colon
      while end < lines.count, lines[end] != 0x0d { end += 1 }
      let name = lines.extracting(start..<colon), value = lines.extracting(min(colon + 2, end)..<end)
      start = end + 2
      guard !HeaderName(name).concernsConnection else { continue }
      let nameStart = text.count
      for index in name.indices { text.append(0x41...0x5a ~= name[index] ? name[index] | 0x20 : name[index]) }
      text.append(value)
      places.append((nameStart..<nameStart + name.count, nameStart + name.count..<text.count))
    }
  }

  /// Whether there is a body to be sent.
  func hasBody(_ index: Int) -> Bool { unsafe !answers[index].body.isEmpty }

  /// Lends the fields of an answer to `body`, with this date and id.
  /// - Parameter keepsID: whether the id is put into the table of the other side, to take its name there.
  func lend(_ index: Int, date: Span<UInt8>, id: Span<UInt8>, keepsID: Bool, to body: (UnsafeMutableBufferPointer<nghttp2_nv>) -> Bool) -> Bool {
    let fields = unsafe answers[index].fields, datePlace = answers[index].date, idPlace = answers[index].id
    return unsafe date.withUnsafeBufferPointer { date in
      unsafe id.withUnsafeBufferPointer { id in
        unsafe fields[datePlace].value = UnsafeMutablePointer(mutating: date.baseAddress)
        unsafe fields[datePlace].valuelen = date.count
        unsafe fields[idPlace].value = UnsafeMutablePointer(mutating: id.baseAddress)
        unsafe fields[idPlace].valuelen = id.count
        let flags = NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | (keepsID ? 0 : NGHTTP2_NV_FLAG_NO_INDEX.rawValue)
        unsafe fields[idPlace].flags = UInt8(flags)
        return unsafe body(fields)
      }
    }
  }

  /// Copies what there is of a body at `place`, `most` bytes of it. Nil when there is no such place.
  func copy(_ place: UInt64, to target: UnsafeMutablePointer<UInt8>, _ most: Int) -> AnswerPiece? {
    let index = Int(place >> Self.offsetBits), offset = Int(place & (1 << Self.offsetBits - 1))
    guard index < answers.count else { return nil }
    let body = unsafe answers[index].body, left = body.count - offset
    guard left >= 0 else { return nil }
    let count = min(left, most)
    if count > 0, let base = body.baseAddress { unsafe memcpy(target, base + offset, count) }
    return AnswerPiece(count: count, isLast: count == left)
  }
}
