// Archive — values to bytes and back by one description, so that the two directions cannot drift apart.
//
// A type describes itself once, as a list of calls that are given each of its fields `inout`: a writing
// archive appends the field, a reading one assigns it. Reading never traps: bytes that end early, counts
// that cannot be, numbers out of range leave `failed` set, and the values as they were.
// Numbers are little-endian and fixed in width; text and lists are preceded by their count.

/// A sequence of values being written or read.
public struct Archive {
  /// What was written so far, or is being read.
  public private(set) var bytes: [UInt8]
  private var position = 0
  public let isReading: Bool
  /// Something could not be read; everything from there on was left as it was.
  public private(set) var failed = false

  /// An empty archive to write to.
  public init() {
    bytes = []
    isReading = false
  }

  /// An archive to read from.
  public init(reading bytes: [UInt8]) {
    self.bytes = bytes
    isReading = true
  }

  /// Whether everything was read, without a failure and without a rest.
  public var isComplete: Bool { !failed && position == bytes.count }

  public mutating func number<Value: FixedWidthInteger>(_ value: inout Value) {
    let size = Value.bitWidth / 8
    if isReading {
      guard !failed, bytes.count - position >= size else { return fail() }
      var read: Value = 0
      for index in (0..<size).reversed() { read = Value(truncatingIfNeeded: UInt64(truncatingIfNeeded: read) << 8 | UInt64(bytes[position + index])) }
      position += size
      value = read
    } else {
      var rest = UInt64(truncatingIfNeeded: value)
      for _ in 0..<size {
        bytes.append(UInt8(truncatingIfNeeded: rest))
        rest >>= 8
      }
    }
  }

  public mutating func flag(_ value: inout Bool) {
    var byte: UInt8 = value ? 1 : 0
    number(&byte)
    guard byte < 2 else { return fail() }
    value = byte == 1
  }

  /// One case of an enumeration, by its raw value.
  public mutating func choice<Value: RawRepresentable>(_ value: inout Value) where Value.RawValue: FixedWidthInteger {
    var raw = value.rawValue
    number(&raw)
    guard let read = Value(rawValue: raw) else { return fail() }
    value = read
  }

  public mutating func text(_ value: inout String) {
    var count = UInt32(clamping: value.utf8.count)
    number(&count)
    if isReading {
      guard !failed, bytes.count - position >= Int(count) else { return fail() }
      value = String(decoding: bytes[position..<position + Int(count)], as: UTF8.self)
      position += Int(count)
    } else {
      bytes.append(contentsOf: value.utf8)
    }
  }

  public mutating func data(_ value: inout [UInt8]) {
    var count = UInt32(clamping: value.count)
    number(&count)
    if isReading {
      guard !failed, bytes.count - position >= Int(count) else { return fail() }
      value = Array(bytes[position..<position + Int(count)])
      position += Int(count)
    } else {
      bytes += value
    }
  }

  /// A list whose elements `each` describes; `blank` is what an element is before it is read.
  public mutating func list<Element>(_ values: inout [Element], blank: Element, each: (inout Archive, inout Element) -> Void) {
    var count = UInt32(clamping: values.count)
    number(&count)
    guard isReading else {
      for var value in values { each(&self, &value) }
      return
    }
    // Each element takes at least a byte: a count beyond the bytes left is a lie, and must cost no memory.
    guard !failed, Int(count) <= bytes.count - position else { return fail() }
    var read: [Element] = []
    for _ in 0..<count {
      var value = blank
      each(&self, &value)
      if failed { return }
      read.append(value)
    }
    values = read
  }

  /// Notes that what was read makes no sense.
  public mutating func fail() { failed = true }
}
