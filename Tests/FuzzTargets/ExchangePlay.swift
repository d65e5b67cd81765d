// ExchangePlay — a whole gateway, a script for its clients and backends, and a clock that the script moves.
//
// After each step the gateway is turned until it has nothing left to do. Invariant: nothing here waits, and the kernel knows
// nothing of it (see ScriptedNetwork).

import Gateway
import Kernel
import Plan
import ScriptedNetwork
import SharedState
import Telemetry

/// How a run ends.
enum RunEnding: Int { case everybodyLeaves, everybodyResets, drain, hurriedDrain }

/// One run.
@safe
struct ExchangePlay: ~Copyable {
  private var gateway: Gateway
  private var clock: Clock
  private var events = EventList(capacity: 64)
  private let counters: UnsafeMutableRawPointer
  private let isHTTP2: Bool
  private(set) var clients: [Int] = []
  private var players: [Int: Player] = [:]
  private(set) var backends: [ScriptedBackend] = []
  private(set) var requests: [SentRequest] = []
  private var ends = 0
  private var responseCount = 0

  /// A client in a box, since collections hold no noncopyable values.
  final class Player {
    var client: ScriptedClient
    init(_ client: consuming ScriptedClient) { self.client = client }
  }

  /// Needs an open network.
  init(isHTTP2: Bool, variant: Int) throws(Violation) {
    let page = UnsafeMutableRawPointer.allocate(byteCount: CounterPage.byteCount, alignment: 64)
    unsafe page.initializeMemory(as: UInt8.self, repeating: 0, count: CounterPage.byteCount)
    let clock = Clock()
    do {
      gateway = try Self.makeGateway(ExchangePlan.make(isHTTP2: isHTTP2, variant: variant), unsafe CounterPage(at: page), clock)
    } catch {
      unsafe page.deallocate()
      throw Violation(description: "no gateway: \(error)")
    }
    self.clock = clock
    self.isHTTP2 = isHTTP2
    unsafe counters = page
  }

  private static func makeGateway(_ plan: Plan, _ counters: consuming CounterPage, _ clock: borrowing Clock) throws -> Gateway {
    var gateway = try Gateway(
      plan, worker: WorkerIdentity(slot: 0, count: 1, generation: 1), board: nil, counters: counters, log: EventLog(level: .critical),
      accessLog: .descriptor(Descriptor(owning: scripted_log())), ticketKeys: [])
    gateway.turnBegan(clock, isNewSecond: true)
    gateway.add(try Descriptor(owning: scripted_listener()), index: 0, slot: nil)
    try gateway.serve(where: { _ in true })
    return gateway
  }

  deinit { unsafe counters.deallocate() }

  // MARK: Turns

  /// Turns the gateway until it waits.
  private mutating func settle() throws(Violation) {
    for _ in 0..<2000 {
      let delay = gateway.turnEnded()
      gateway.wait(into: &events, milliseconds: 0)
      let isNewSecond = clock.update()
      gateway.turnBegan(clock, isNewSecond: isNewSecond)
      for position in 0..<events.count { _ = gateway.handle(events[position]) }
      try meetBackends()
      if events.count == 0, delay != 0 {
        var moved = false
        for client in clients where players[client]?.client.isHTTP2 == true {
          let before = players[client]?.client.unsent.count ?? 0
          try players[client]?.client.receive()
          moved = moved || players[client]?.client.unsent.count != before
        }
        if !moved { return try checkBounds() }
      }
    }
    throw Violation(description: "the gateway does not come to rest")
  }

  /// Takes note of connections that the gateway has opened.
  private mutating func meetBackends() throws(Violation) {
    while ends < Int(scripted_count()) {
      if scripted_kind(CInt(ends)) == SCRIPTED_BACKEND { backends.append(ScriptedBackend(end: ends, isHTTP2: isHTTP2)) }
      ends += 1
    }
  }

  private mutating func checkBounds() throws(Violation) {
    let occupancy = gateway.occupancy
    // What has been read in one piece goes on top of a limit.
    let piece = 128 << 10
    try require(occupancy.clientBacklog <= (256 << 10) + 2 * piece, "\(occupancy.clientBacklog) bytes wait for a client")
    try require(occupancy.backendBacklog <= ExchangePlan.highWater + ExchangePlan.replayLimit + 2 * piece, "\(occupancy.backendBacklog) bytes wait for a backend")
    try require(occupancy.streamBacklog <= (32 << 10) + 16_384, "\(occupancy.streamBacklog) bytes of a stream wait")
    try require(occupancy.keptBody <= 256 << 10, "\(occupancy.keptBody) bytes of a request are kept")
  }

  /// Moves the clock on, and lets what is due happen.
  private mutating func advance(_ milliseconds: Int) throws(Violation) {
    scripted_advance(UInt64(milliseconds))
    let isNewSecond = clock.update()
    gateway.turnBegan(clock, isNewSecond: isNewSecond)
    try settle()
  }

  // MARK: Steps

  mutating func play(_ step: Step) throws(Violation) {
    switch step {
    case .connect(let isHTTP2):
      guard clients.count < 6 else { return }
      let end = Int(scripted_connect())
      guard end >= 0 else { return }
      clients.append(end)
      players[end] = Player(try ScriptedClient(end: end, isHTTP2: isHTTP2))
    case .request(let client, let step, let count):
      if clients.isEmpty { try play(.connect(isHTTP2: client % 4 == 3)) }
      guard let player = player(client), requests.count < 60, !player.client.hasFinished, !player.client.hasGone else { return }
      let request = SentRequest(tag: requests.count, client: player.client.end, step: step)
      requests.append(request)
      try player.client.add(request)
      player.client.send(count)
    case .clientSends(let client, let count): player(client)?.client.send(count)
    case .clientFinishes(let client):
      guard let player = player(client) else { return }
      player.client.hasFinished = true
      scripted_finish(CInt(player.client.end))
    case .clientLeaves(let client):
      guard let player = player(client) else { return }
      player.client.leave(resetting: false)
    case .clientResets(let client):
      guard let player = player(client) else { return }
      player.client.leave(resetting: true)
    case .clientTakes(let client, let count):
      guard let player = player(client) else { return }
      scripted_take(CInt(player.client.end), count ?? .max)
    case .clientCancels(let client):
      guard let player = player(client), player.client.isHTTP2, let last = player.client.requests.last else { return }
      player.client.cancelled.insert(last.tag)
      player.client.http2?.cancel(last.tag)
      player.client.unsent += player.client.http2?.produce() ?? []
      if !player.client.hasFinished, !player.client.hasGone { player.client.send(nil) }
    case .respond(let number, let step, let count):
      guard let index = backend(number), backends[index].responses.count < 40 else { return }
      try backends[index].respond(step, id: responseCount)
      responseCount += 1
      backends[index].send(count)
    case .backendSends(let number, let count): if let index = backend(number) { backends[index].send(count) }
    case .backendFinishes(let number), .backendLeaves(let number):
      guard let index = backend(number), backends[index].finishedAt == nil else { return }
      backends[index].finishedAt = backends[index].sent
      if case .backendLeaves = step { scripted_leave(CInt(backends[index].end)) } else { scripted_finish(CInt(backends[index].end)) }
    case .backendResets(let number):
      guard let index = backend(number) else { return }
      backends[index].wasReset = true
      scripted_reset(CInt(backends[index].end))
    case .backendTakes(let number, let count): if let index = backend(number) { scripted_take(CInt(backends[index].end), count ?? .max) }
    case .backendSendsRaw(let number, let bytes): if let index = backend(number) { backends[index].sendRaw(bytes) }
    case .frame(let number, let step):
      guard let index = backend(number), backends[index].responses.count < 40 else { return }
      try backends[index].frame(step, id: responseCount)
      responseCount += 1
      backends[index].send(nil)
    case .connects(let outcome): scripted_connects(CInt(outcome))
    case .finishConnects: scripted_finish_connects()
    case .advance(let milliseconds): return try advance(milliseconds)
    }
    try settle()
  }

  private func player(_ number: Int) -> Player? { clients.isEmpty ? nil : players[clients[number % clients.count]] }

  /// The newest connection but `number`, of those on which something can be sent.
  private func backend(_ number: Int) -> Int? {
    let open = backends.indices.filter { index in
      let end = CInt(backends[index].end)
      return scripted_is_connected(end) != 0 && scripted_left(end) & CInt(SCRIPTED_CLOSED) == 0 && !backends[index].wasReset
    }
    return open.isEmpty ? nil : open[open.count - 1 - number % open.count]
  }

  // MARK: The end

  /// Lets everybody go, and all deadlines pass; nothing may be left then.
  mutating func end(_ ending: RunEnding) throws(Violation) {
    switch ending {
    case .everybodyLeaves, .everybodyResets:
      for client in clients {
        players[client]?.client.leave(resetting: ending == .everybodyResets)
        try settle()
      }
      scripted_connects(CInt(SCRIPTED_CONNECT_REFUSED))
      for index in backends.indices {
        if ending == .everybodyLeaves {
          backends[index].finishedAt = backends[index].finishedAt ?? backends[index].sent
          scripted_leave(CInt(backends[index].end))
        } else {
          backends[index].wasReset = true
          scripted_reset(CInt(backends[index].end))
        }
      }
      scripted_finish_connects()
      try settle()
    case .drain, .hurriedDrain:
      gateway.beginDrain(milliseconds: 5_000, hurry: ending == .hurriedDrain)
      try settle()
    }
    for _ in 0..<100 { try advance(500) }
    let occupancy = gateway.occupancy
    if ending == .everybodyLeaves || ending == .everybodyResets {
      try require(occupancy.isEmpty, "when everybody had gone, there were: \(occupancy)")
    } else {
      let isDrained = gateway.isDrained
      try require(isDrained && occupancy.clients == 0 && occupancy.exchanges == 0 && occupancy.backendSessions == 0, "after the drain there were: \(occupancy)")
    }
    for gauge in Counter.allCases where gauge.isGauge && gateway.counters.value(of: gauge) != 0 && gauge != .upstreamConnectionsIdle && gauge != .upstreamConnectionsActive {
      throw Violation(description: "the gauge \(gauge) stays at \(Int64(bitPattern: gateway.counters.value(of: gauge)))")
    }
    gateway.closeLogs()
  }

  // MARK: Judging

  /// Compares what clients have got with what backends have sent, and with the log.
  func judge() throws(Violation) {
    let log = try LoggedRequest.readAll()
    var answers: [Int: Answer] = [:]
    for client in clients {
      guard let player = players[client] else { continue }
      for (tag, answer) in try player.client.answers() { answers[tag] = answer }
    }
    let responses = Dictionary(uniqueKeysWithValues: backends.flatMap(\.responses).map { ($0.id, $0) })
    let isWild = Dictionary(uniqueKeysWithValues: backends.map { ($0.end, $0.isWild) })
    var seen: [Int: Int] = [:]
    for backend in backends {
      let isRefusing = backend.refused
      for request in try backend.requests() {
        try require(requests.indices.contains(request.tag) && requests[request.tag].step.method == request.method, "a request that nobody has sent: \(request)")
        if !backend.isWild, !isRefusing.contains(request.stream) { seen[request.tag, default: 0] += 1 }
      }
    }
    for request in requests {
      let lines = log[request.tag] ?? []
      let what = "\(request.step.method) \(request.path)"
      try require(lines.count <= 1, "\(what) is logged \(lines.count) times")
      let answer = answers[request.tag] ?? Answer()
      let hasAsked = players[request.client]?.client.hasAsked(request.tag) ?? false
      // What came too late for its head to be known is not logged under its name.
      try require(lines.count == 1 || !hasAsked || answer.status == 408 || (answer.status == 0 && seen[request.tag] == nil), "\(what) is not logged")
      if request.hasSideEffects, !ExchangePlan.repeatsAll(request.step.route) {
        try require(seen[request.tag] ?? 0 <= 1, "\(what) was sent \(seen[request.tag] ?? 0) times")
      }
      guard let line = lines.first, let player = players[request.client] else { continue }
      try compare(answer, line, request, player, responses, isWild)
    }
  }

  private func compare(
    _ answer: Answer, _ line: LoggedRequest, _ request: SentRequest, _ player: Player, _ responses: [Int: SentResponse], _ isWild: [Int: Bool]
  ) throws(Violation) {
    let what = "\(request.step.method) \(request.path)"
    let isAttentive = !player.client.hasFinished && !player.client.hasGone && !player.client.cancelled.contains(request.tag)
    if answer.status > 0 { try require(line.status == answer.status, "\(what): \(answer.status) is logged as \(line.status)") }
    // Of a response on a stream, what goes with the turn is not waited for, nor one that came before its request was over.
    let isWatched = !player.client.isHTTP2 || request.step.body == .none && answer.response.flatMap { responses[$0]?.size } ?? 0 > 16_384
    if answer.status > 0, !answer.isWhole, isAttentive, isWatched { try require(line.fault != "-", "\(what): a response that was cut off has no fault") }
    guard answer.status > 0, let id = answer.response else {
      // What a backend has said that is not known may be a response as well.
      if answer.status > 0, !isWild.values.contains(true) { try require(line.fault != "-", "\(what): an answer of the gateway's own, \(answer.status), has no fault") }
      return
    }
    guard let response = responses[id], let backend = backends.first(where: { $0.end == response.backend }) else {
      throw Violation(description: "\(what): a response that nobody has sent")
    }
    if isWild[response.backend] == true { return }
    try require(answer.responseTag == request.tag && response.tag == request.tag, "\(what): the response to \(response.tag)")
    try require(answer.status == response.status, "\(what): \(response.status) has become \(answer.status)")
    for (position, byte) in answer.body.enumerated() where byte != patternByte(id, position) {
      throw Violation(description: "\(what): byte \(position) of the body is not the backend's")
    }
    try require(answer.body.count <= response.size, "\(what): a body of \(answer.body.count) bytes instead of \(response.size)")
    guard answer.isWhole else { return }
    // (What is missing may be the rest of the request.)
    let isLate = request.step.body != .none && line.fault == "http_request_timeout"
    if isAttentive, !isLate { try require(line.fault == "-", "\(what): a whole response has the fault \(line.fault)") }
    if request.step.method != "HEAD" { try require(answer.body.count == response.size || response.endsByClosing, "\(what): \(answer.body.count) of \(response.size) bytes, and yet whole") }
    if isHTTP2 {
      try require(response.hasEnded || request.step.method == "HEAD" || [204, 304].contains(response.status), "\(what): the response was not over, and yet whole")
    } else if response.endsByClosing {
      try require(backend.finishedAt != nil && answer.body.count == min(response.size, (backend.finishedAt ?? 0) - response.headEnd), "\(what): cut off, and yet whole")
    } else {
      try require(backend.sent >= response.end || request.step.method == "HEAD", "\(what): not sent to its end, and yet whole")
    }
  }
}
