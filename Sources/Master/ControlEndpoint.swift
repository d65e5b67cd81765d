// ControlEndpoint — the control socket and the connections on it; and the master's answers.

import Control
import Kernel

/// The listening control socket.
final class ControlEndpoint {
  let path: String
  private let socket: Descriptor
  private let file: FileFacts?
  private(set) var connections: [ControlConnection] = []
  /// Connections at one time; more than a handful is somebody's mistake.
  private static let most = 64

  /// Listens at the first of `paths` that is not another process's.
  /// - Throws: the reason none could be used.
  init(_ paths: [String]) throws(ListenerFailure) {
    var reason = "no path"
    for path in paths {
      do {
        let socket = try BoundSocket.bind(unixPath: path, mode: 0o600)
        try BoundSocket.listen(socket, backlog: 64)
        self.path = path
        self.socket = socket
        file = FileFacts(path: path)
        return
      } catch {
        reason = "\(path): \(error.text)"
      }
    }
    throw ListenerFailure(reason: reason)
  }

  /// Goes on with the socket, and the connections, of the program before this one.
  init(adopting socket: consuming Descriptor, path: String, _ connections: [ControlConnection]) {
    self.socket = socket
    self.path = path
    self.connections = connections
    file = FileFacts(path: path)
  }

  var raw: CInt { socket.raw }

  func accept() {
    while let peer = BoundSocket.accept(socket) {
      guard connections.count < Self.most else { continue }
      let connection = ControlConnection(peer)
      connections.append(connection)
    }
  }

  func drop(_ connection: ControlConnection) { connections.removeAll { $0 === connection } }

  /// Closes the connections that have their whole answer.
  func sweep() { connections.removeAll(where: \.isDone) }

  /// Removes the socket's file, if it is still ours.
  func remove() {
    guard let file, let there = FileFacts(path: path), there.device == file.device, there.inode == file.inode else { return }
    Files.remove(path)
  }
}

extension Master {
  /// Goes on with a connection on the control socket.
  func hear(_ connection: ControlConnection, readable: Bool) {
    switch connection.proceed(readable: readable) {
    case .none: break
    case .close: control?.drop(connection)
    case .request(let request): answer(request, connection)
    }
  }

  private func answer(_ request: ControlRequest, _ connection: ControlConnection) {
    switch request {
    case .version: connection.answer(ControlAnswer(.ok, [options.version]))
    case .status: connection.answer(ControlAnswer(.ok, [statusText()]))
    case .reopen:
      let problems = reopenLogs()
      connection.answer(ControlAnswer(problems.isEmpty ? .ok : .failed, problems))
    case .reload: reload(for: connection)
    case .plan: compare(for: connection)
    case .upstreams: connection.answer(ControlAnswer(.ok, [upstreamsText()]))
    case .drainEndpoint(let name): connection.answer(order(.draining, name))
    case .enableEndpoint(let name): connection.answer(order(.enabled, name))
    case .disableEndpoint(let name): connection.answer(order(.disabled, name))
    case .upgrade(let path, let seconds): upgrade(to: path, seconds: seconds, for: connection)
    case .stop:
      stopAskers.append(connection)
      stop("control socket")
    case .stopNow:
      stopAskers.append(connection)
      stopNow("control socket")
    case .limits(let top): connection.answer(ControlAnswer(.ok, [limitsText(top: top)]))
    case .breakers: connection.answer(ControlAnswer(.ok, [breakersText()]))
    case .openBreaker(let name): connection.answer(order(.open, breaker: name))
    case .closeBreaker(let name): connection.answer(order(.close, breaker: name))
    case .resetBreaker(let name): connection.answer(order(.reset, breaker: name))
    }
  }
}
