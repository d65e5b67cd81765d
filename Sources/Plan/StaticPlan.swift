// StaticPlan — files below a directory.

/// Answers with files.
public struct StaticPlan: Equatable, Sendable {
  /// Which symbolic links are followed.
  public enum Links: UInt8, Equatable, Sendable {
    case none
    /// Those that do not lead out of the directory.
    case beneath
    case all
  }

  /// What files beside the one that is asked for may be sent in its place.
  public enum Coding: UInt8, Equatable, Sendable { case gzip, brotli, zstd }

  /// An absolute path.
  public var root: String
  /// Names of files that stand for the directory they are in, the first that exists.
  public var index = ["index.html"]
  /// What is sent for what does not exist: a path below the root; empty: 404.
  public var fallback = ""
  /// Whether names that begin with a dot are served.
  public var hidden = false
  public var links = Links.beneath
  /// The value of Cache-Control; empty: the field is not sent.
  public var cacheControl = ""
  /// Of files whose extension says nothing; empty: none is said.
  public var otherType = "application/octet-stream"
  public var charset = "utf-8"
  /// Media types by extension that stand before the built-in ones.
  public var types: [MediaTypePlan] = []
  /// In order of preference.
  public var precompressed: [Coding] = []

  public init(root: String) { self.root = root }
}

public struct MediaTypePlan: Equatable, Sendable {
  /// Extensions in lower case, without the dot.
  public var suffixes: [String] = []
  public var type = ""

  public init() {}
}
