// ContentCoding — how content may be coded, and which coding a client takes (RFC 9110 §8.4.1, §12.5.3).

import HTTPModel
import Memory

/// A coding of content.
public enum ContentCoding: UInt8, Sendable, BitwiseCopyable, CaseIterable {
  case identity, gzip, brotli, zstd

  /// As it stands in header fields.
  public var token: StaticString {
    switch self {
    case .identity: "identity"
    case .gzip: "gzip"
    case .brotli: "br"
    case .zstd: "zstd"
    }
  }

  /// What the name of a file that is coded so ends in.
  public var suffix: StaticString {
    switch self {
    case .identity: ""
    case .gzip: ".gz"
    case .brotli: ".br"
    case .zstd: ".zst"
    }
  }
}

/// The codings that a client takes.
public struct AcceptedCodings: BitwiseCopyable, Sendable {
  // Qualities in thousandths; negative: not mentioned.
  private var gzip: Int16 = -1
  private var brotli: Int16 = -1
  private var zstd: Int16 = -1
  private var identity: Int16 = -1
  private var others: Int16 = -1

  public init() {}

  /// Whether content may be sent as it is.
  public var takesIdentity: Bool { identity > 0 || identity < 0 && others != 0 }

  /// The quality of a coding, in thousandths; 0: it is not taken.
  public func quality(_ coding: ContentCoding) -> Int {
    let own =
      switch coding {
      case .identity: identity
      case .gzip: gzip
      case .brotli: brotli
      case .zstd: zstd
      }
    return Int(own >= 0 ? own : max(0, others))
  }

  /// The best of the codings in `order`; of equally good ones the first. Identity where there is none, or where it is asked for with a
  /// higher quality.
  public func choose(from order: Span<ContentCoding>) -> ContentCoding {
    var best = ContentCoding.identity, quality = 0
    for index in order.indices where self.quality(order[index]) > quality {
      best = order[index]
      quality = self.quality(best)
    }
    return identity > quality ? .identity : best
  }

  mutating func note(_ name: Span<UInt8>, _ quality: Int) {
    let quality = Int16(clamping: quality)
    if name.equalsIgnoringCase("gzip") || name.equalsIgnoringCase("x-gzip") {
      gzip = max(gzip, quality)
    } else if name.equalsIgnoringCase("br") {
      brotli = max(brotli, quality)
    } else if name.equalsIgnoringCase("zstd") {
      zstd = max(zstd, quality)
    } else if name.equalsIgnoringCase("identity") {
      identity = max(identity, quality)
    } else if name.equals("*") {
      others = max(others, quality)
    }
  }
}

extension RequestHead {
  /// The codings that the client says it takes; none where it does not say.
  public func acceptedCodings(in bytes: Span<UInt8>) -> AcceptedCodings {
    var accepted = AcceptedCodings()
    guard names.contains(.acceptEncoding) else { return accepted }
    for index in records.indices where records[index].isNamed(.acceptEncoding) {
      records[index].value.text(in: bytes).forEachMediaType { accepted.note($0, $1) }
    }
    return accepted
  }
}
