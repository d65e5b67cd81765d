// Splicing — long bodies of responses, from a backend's socket to a client's through a pipe: the kernel moves pages, nobody copies.
//
// It begins when the head and what came with it have been passed on, where both connections are plain TCP, the length is
// known, and the request is over. The pipe is filled only when it is empty, so the client's pace is the backend's.
// A connection whose last byte is in the pipe is given back before the client has taken it.

import Kernel
import Memory
import SharedState
import Upstream

extension Gateway {
  /// What must be missing of a body for a pipe to be worth while.
  static var spliceThreshold: Int { 128 << 10 }
  /// Pipes at the same time; exchanges beyond copy.
  static var pipeLimit: UInt32 { 1024 }
  /// A pipe's size. Unprivileged processes are allowed 64 MiB of pipes together by default; beyond it they are small.
  private static var pipeSize: Int { 256 << 10 }
  /// …and that of the first few, which cost the fewest calls and packets. (Measured with 64 downloads: half the time of 256 KiB; with 512, that
  /// much for each no longer fits the caches of those who send and receive, and costs half the rate.)
  private static var largePipeSize: Int { 512 << 10 }
  private static var largePipeLimit: Int { 64 }
  /// Pipes that are smaller cost more calls than copying does.
  private static var smallestPipe: Int { 64 << 10 }
  /// Unused pipes kept.
  private static var idlePipes: Int { 32 }
  /// Times that a pipe is filled in one turn, at most.
  private static var spliceBudget: Int { 4 }

  // MARK: Beginning

  /// Takes a pipe for the rest of the response's body; false when it has to be copied.
  @inline(never)
  mutating func beginSplicing(_ exchange: Handle, _ backend: Handle) -> Bool {
    let client = exchanges[exchange].client
    let flags = exchanges[exchange].flags
    // Where it has to be copied as well.
    if !clients[client].flags.contains(.limited) { limitUnsent(client) }
    guard backends.connections[backend].carriage == .plain, flags.contains(.requestComplete),
      flags.isDisjoint(with: [.chunked, .holding, .untilClose, .upgrading]),
      clients[client].flags.isDisjoint(with: [.secure, .stream, .holding, .doomed, .void]), backends.connections[backend].backlog.isEmpty,
      exchanges[exchange].session == nil, actions.forwards[Int(exchanges[exchange].rule)].plan.relayBufferLimit >= Self.pipeSize, let pipe = takePipe(exchange)
    else { return false }
    exchanges[exchange].session = pipe
    exchanges[exchange].flags.insert(.spliced)
    backends.splice(backend, true)
    return true
  }

  private mutating func takePipe(_ exchange: Handle) -> Handle? {
    let limit = actions.forwards[Int(exchanges[exchange].rule)].plan.relayBufferLimit
    while let pipe = pipes.revive() {
      if pipes[pipe].capacity <= limit { return pipe }
      closePipe(pipe)
    }
    let isLarge = largePipes < Self.largePipeLimit && limit >= Self.largePipeSize
    guard let pipe = try? Pipe(size: isLarge ? Self.largePipeSize : Self.pipeSize), pipe.capacity >= Self.smallestPipe else { return nil }
    let isCounted = pipe.capacity > Self.pipeSize
    guard let handle = pipes.insert(pipe) else { return nil }
    if isCounted { largePipes += 1 }
    return handle
  }

  private mutating func closePipe(_ pipe: Handle) {
    if pipes[pipe].capacity > Self.pipeSize { largePipes -= 1 }
    _ = pipes.remove(pipe)
  }

  /// Gives a pipe back: with something in it, or with enough others, it is closed.
  mutating func releasePipe(_ pipe: Handle) {
    if pipes[pipe].count == 0, pipes.parkedCount < Self.idlePipes { pipes.park(pipe) } else { closePipe(pipe) }
  }

  // MARK: Moving

  /// Moves what the backend has sent on to the client, as far as it takes it.
  mutating func splice(_ exchange: Handle, _ backend: Handle) {
    guard let pipe = exchanges[exchange].session else { return }
    let deadline = exchanges[exchange].responseDeadline
    if deadline > 0, services.now >= deadline { return fail(exchange, .responseTooSlow) }
    for _ in 0..<Self.spliceBudget {
      guard pour(exchange, pipe) else {
        // The wait is the client's, not the backend's.
        backends.connections[backend].waiting = .nothing
        return
      }
      guard backends.connections[backend].isReadable else { return startBodyTimer(exchange, backend) }
      switch pipes[pipe].fill(from: backends.connections[backend].socket, limit: backends.connections[backend].body.remainingLength) {
      case .moved(let count):
        exchanges[exchange].sent += count
        exchanges[exchange].bodySent += count
        backends.connections[backend].body.skip(count)
        if backends.connections[backend].body.isComplete { return spliceIsComplete(exchange, backend, pipe) }
      case .blocked: backends.connections[backend].isReadable = false
      case .ended, .failed: return fail(exchange, .responseIncomplete)
      }
    }
    pending.append(Token.make(.backend, backend))
  }

  /// Moves what is in the pipe to the client. True when nothing is left of it, and the client takes more.
  private mutating func pour(_ exchange: Handle, _ pipe: Handle) -> Bool {
    let client = exchanges[exchange].client
    guard clients[client].backlog.isEmpty, clients[client].flags.isDisjoint(with: .doomed) else {
      clients[client].flags.insert(.pouring)
      return false
    }
    var progress = clients[client].waiting != .send
    while pipes[pipe].count > 0 {
      switch pipes[pipe].drain(to: clients[client].socket, hasMore: exchanges[exchange].backend != nil) {
      case .moved(let count):
        counters.add(.bytesSent, UInt64(count))
        progress = true
      case .blocked:
        clients[client].flags.insert(.pouring)
        if progress { setSendTimer(client) }
        return false
      case .ended, .failed:
        doom(client)
        return false
      }
    }
    clients[client].flags.remove(.pouring)
    if clients[client].waiting == .send { clients[client].waiting = .nothing }
    return true
  }

  /// The last byte of the body is in the pipe.
  private mutating func spliceIsComplete(_ exchange: Handle, _ backend: Handle, _ pipe: Handle) {
    // The socket was not read until it was empty: what is in it now, nobody asked for.
    let hasInput = backends.connections[backend].socket.hasInput
    backends.connections[backend].isReadable = hasInput
    backends.splice(backend, false)
    let isReusable = !hasInput && !backends.connections[backend].hasEnded && backends.connections[backend].isPersistent
    detach(exchange, backend, isReusable: isReusable)
    if pour(exchange, pipe) { finish(exchange) }
  }

  // MARK: The client

  /// The client's socket takes bytes again.
  @inline(never)
  mutating func sendUnsent(_ client: Handle) {
    if !clients[client].backlog.isEmpty { flushBacklog(client) }
    guard clients[client].flags.contains(.pouring), clients[client].flags.isDisjoint(with: .doomed), let exchange = clients[client].exchange,
      let pipe = exchanges[exchange].session
    else { return }
    if exchanges[exchange].flags.contains(.file) {
      clients[client].flags.remove(.pouring)
      return sendFile(exchange)
    }
    if let backend = exchanges[exchange].backend { return splice(exchange, backend) }
    if pour(exchange, pipe) { finish(exchange) }
  }
}
