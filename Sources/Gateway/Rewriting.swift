// Rewriting — the addresses in a response's head, where the route asks for it: see `ResponseRewriter`.

import HTTPModel
import Memory
import Wire

extension Gateway {
  /// The head at hand, `bytes`, with its addresses rewritten, and parsed once more; an absent buffer when there is none to be.
  @inline(never)
  mutating func rewritten(_ exchange: Handle, _ bytes: Span<UInt8>) -> Buffer {
    let rule = Int(exchanges[exchange].rule)
    let rewriter = actions.forwards[rule].rewriter
    guard rewriter.concerns(services.responseHead, in: bytes) else { return Buffer.absent }
    let prefix = actions.forwards[rule].plan.originalPath ? Buffer(capacity: 1) : Self.strippedPrefix(exchanges[exchange])
    let upstream = Int(exchanges[exchange].upstream)
    var output = Buffer(capacity: ResponseRewriter.capacity(services.responseHead, of: bytes, prefix: prefix.bytes))
    Self.rewrite(rewriter, services.responseHead, bytes, prefix, actions.hosts[upstream], &output)
    var parser = ResponseParser()
    guard case .complete(output.count) = parser.parse(output.bytes, into: &services.responseHead) else {
      // It was composed here, so this cannot be; then it goes as it came.
      parser = ResponseParser()
      _ = parser.parse(bytes, into: &services.responseHead)
      return Buffer.absent
    }
    return output
  }

  private static func rewrite(
    _ rewriter: ResponseRewriter, _ head: borrowing ResponseHead, _ bytes: Span<UInt8>, _ prefix: borrowing Buffer, _ authority: borrowing Buffer,
    _ output: inout Buffer
  ) {
    rewriter.rewrite(head, of: bytes, prefix: prefix.bytes, authority: authority.bytes, into: &output)
  }

  /// What strip_prefix has taken from the path, without a slash at its end.
  private static func strippedPrefix(_ exchange: borrowing Exchange) -> Buffer {
    switch exchange.path {
    case .some(let path): prefix(path.bytes, Int(exchange.pathStart))
    case .none: prefix(exchange.head.path.text(in: exchange.bytes.bytes), Int(exchange.pathStart))
    }
  }

  private static func prefix(_ path: Span<UInt8>, _ start: Int) -> Buffer {
    var end = min(max(0, start), path.count)
    while end > 0, path[end - 1] == 0x2f { end -= 1 }
    var copy = Buffer(capacity: max(1, end))
    copy.append(path.extracting(first: end))
    return copy
  }
}
