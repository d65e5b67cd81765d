// FileRule — a directory whose files are served, made ready: what each of its responses has in common, and the directory itself.
//
// The directory is opened anew when it was last opened more than a second ago, so that one that has been put in its place (a symbolic
// link that is switched to another release) is seen without a reload.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import Wire

struct FileRule: ~Copyable {
  /// Milliseconds for which an open directory is used.
  private static var lifetime: Int64 { 1_000 }

  let hidden: Bool
  let types: MediaTypes
  /// Field lines that every response with a file has.
  let fields: Buffer
  /// Codings of files beside the one that is asked for, which are sent in its place.
  let codings: BoundedArray<ContentCoding>
  /// Names of files that stand for their directory.
  private(set) var index = Stack<Buffer>()
  /// The name of what is sent for what does not exist; empty: nothing is.
  let fallback: Buffer
  private let links: Folder.Links
  /// With the NUL that ends it.
  private let root: Buffer
  private var folder: Folder?
  private var openedAt = Int64.min

  /// Whether files are compressed on their way.
  let compresses: Bool

  init(_ plan: StaticPlan, compresses: Bool) {
    self.compresses = compresses
    hidden = plan.hidden
    links = plan.links == .none ? .none : plan.links == .beneath ? .beneath : .all
    types = MediaTypes(own: plan.types.flatMap { type in type.suffixes.map { ($0, type.type) } }, other: plan.otherType, charset: plan.charset)
    fields = FileRule.buffer(plan.cacheControl.isEmpty ? "" : "Cache-Control: \(plan.cacheControl)\r\n")
    fallback = FileRule.buffer(plan.fallback)
    root = FileRule.buffer(plan.root + "\0")
    var codings = BoundedArray<ContentCoding>(capacity: max(1, plan.precompressed.count))
    for coding in plan.precompressed { _ = codings.append(coding == .gzip ? .gzip : coding == .brotli ? .brotli : .zstd) }
    self.codings = codings
    for name in plan.index { index.append(FileRule.buffer(name)) }
  }

  private static func buffer(_ text: String) -> Buffer {
    let bytes = Array(text.utf8)
    var buffer = Buffer(capacity: max(1, bytes.count))
    buffer.append(bytes.span)
    return buffer
  }

  /// False when the directory itself could not be opened the last time.
  private(set) var hasRoot = true

  /// Opens what is called `name`, which ends in a NUL, below the directory.
  /// - Parameter now: milliseconds of the monotonic clock.
  mutating func open(_ name: Span<UInt8>, now: Int64) throws(Errno) -> OpenFile {
    if openedAt == .min || now - openedAt >= Self.lifetime {
      hasRoot = false
      folder = try Folder(root.bytes)
      openedAt = now
    }
    hasRoot = true
    switch folder {
    case .some(let folder): return try folder.open(name, links)
    case .none: throw .interrupted
    }
  }
}

/// A file on its way to a client.
struct FileBody: ~Copyable {
  let file: OpenFile
  /// Index into the file rules.
  let rule: Int
  /// The media type, in the rule's types.
  let type: Extent
  /// What is sent of it, and how many of these there are. More than one are parts with heads of their own.
  var parts = InlineArray<16, ByteRange>(repeating: ByteRange(start: 0, count: 0))
  var partCount = 0
  var part = 0
  /// The next byte, and the end of the part at hand.
  var position = 0
  var end = 0
  /// What codes it on its way.
  var encoder: Handle?
  /// What separates the parts.
  let boundary: UInt64

  init(_ file: consuming OpenFile, rule: Int, type: Extent, boundary: UInt64) {
    self.file = file
    self.rule = rule
    self.type = type
    self.boundary = boundary
  }
}

extension Fault {
  /// Why a file could not be opened.
  init(opening error: Errno) {
    self =
      error.isMissing ? .fileNotFound : error.isForbidden ? .fileForbidden : error.isOutOfDescriptors ? .filesExhausted : .fileUnreadable
  }
}
