// FieldParser — the grammar of header fields (RFC 9112 §5), shared by requests, responses and trailers.
//
// Each step either moves a scanner past what it names or throws a `Stop`. Stops are small typed
// values: throwing one costs no more than returning it.

import HTTPModel
import Memory

/// Why a section could not be read to its end.
enum Stop: Error {
  case incomplete
  case rejected(Fault)

  static var malformed: Stop { .rejected(.httpRequestError) }
}

extension Scanner {
  /// Why a step failed: the bytes ended here, or a byte that cannot stand here came.
  var stop: Stop { isAtEnd ? .incomplete : .malformed }

  /// As `stop`, where `\r` may already have come but not yet `\n`.
  var stopAtLineEnd: Stop { remaining == 1 && next == .carriageReturn ? .incomplete : stop }
}

/// What a run of bytes amounts to.
public enum ParseOutcome {
  /// A whole section, `length` bytes long.
  case complete(length: Int)
  case incomplete
  case rejected(Fault)
}

/// Finds the end of a head without looking at any byte twice, for heads that arrive in pieces.
struct HeadEndFinder {
  /// Bytes already known not to contain the end of a head.
  private(set) var examined = 0

  /// Whether a line feed that ends an empty line is among the bytes not yet examined. True for the first piece:
  /// nearly every head arrives whole, and then the parser alone reads it.
  mutating func mayBeComplete(_ bytes: Span<UInt8>) -> Bool {
    guard examined > 0 else { return true }
    return containsHeadEnd(bytes)
  }

  mutating func note(_ count: Int) { examined = count }
  mutating func reset() { examined = 0 }

  @inline(never)
  private mutating func containsHeadEnd(_ bytes: Span<UInt8>) -> Bool {
    var index = examined
    while index < bytes.count {
      // A bare line feed is an error that the parser will name, so it ends the wait as well. One at the very start never waited.
      if bytes[index] == .lineFeed, index > 0, bytes[index - 1] != .carriageReturn || (index > 1 && bytes[index - 2] == .lineFeed) { return true }
      index += 1
    }
    examined = bytes.count
    return false
  }
}

/// Reads a trailer section: fields up to the empty line, under the rules for headers.
public enum TrailerParser {
  /// - Parameter head: only its fields are used.
  public static func parse(_ bytes: Span<UInt8>, into head: inout RequestHead) -> ParseOutcome {
    head.reset()
    let scan = head.scanFields(bytes, from: 0)
    head.size = scan.size
    switch scan.outcome {
    case .complete: return .complete(length: scan.end)
    case .incomplete: return .incomplete
    case .malformed: return .rejected(.httpRequestError)
    case .tooMany: return .rejected(.headersTooLarge)
    }
  }
}

extension HeadFlags {
  /// Notes the options of a `Connection` field that holds more than one of the two usual ones.
  @inline(never)
  mutating func insert(connectionOptions value: Span<UInt8>) {
    var found = HeadFlags()
    value.forEachToken { option in
      if option.equalsIgnoringCase("close") {
        found.insert(.saysClose)
      } else if option.equalsIgnoringCase("keep-alive") {
        found.insert(.saysKeepAlive)
      } else {
        found.insert(.namesConnectionFields)
      }
    }
    formUnion(found)
  }
}

extension HeaderNameSet {
  /// Names whose fields say something about the connection or the framing of the message they are in, `Host` apart.
  static var decisive: HeaderNameSet {
    [
      HeaderNameSet(.connection), HeaderNameSet(.contentLength), HeaderNameSet(.transferEncoding), HeaderNameSet(.expect),
      HeaderNameSet(.te), HeaderNameSet(.trailer),
    ]
  }
}

extension FieldScan {
  /// Throws unless the section is whole.
  @inline(__always)
  func check() throws(Stop) {
    switch outcome {
    case .complete: return
    case .incomplete: throw .incomplete
    case .malformed: throw .malformed
    case .tooMany: throw .rejected(.headersTooLarge)
    }
  }
}
