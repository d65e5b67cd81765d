// ExchangeScript — what clients and backends do, in which order, decoded from arbitrary bytes.
//
// Every sequence of bytes is a script: a step is a byte that says what is done and a few that say how, and what is missing at
// the end is zero. The kinds of steps that a run can do most with have several numbers.

/// Bytes, read one after the other; zeros when there are none left.
struct ScriptReader {
  private var rest: ArraySlice<UInt8>
  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

  var isAtEnd: Bool { rest.isEmpty }
  mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }
  mutating func number() -> Int { Int(byte()) }
  mutating func bytes(_ count: Int) -> [UInt8] {
    defer { rest = rest.dropFirst(count) }
    return Array(rest.prefix(count))
  }
}

/// The request that a client sends.
struct RequestStep {
  enum Body: Equatable { case none, length(Int), chunked(Int) }
  var method = "GET"
  var route = 0
  var isVersion10 = false
  var body = Body.none
  var expectsContinue = false
}

/// The response that an HTTP/1.1 backend sends.
struct ResponseStep {
  enum Framing { case length, chunked, close, none }
  var status = 200
  var framing = Framing.length
  var size = 0
  var interims = 0
  var closes = false
  var hasTrailers = false
  var retryAfter = -1
}

/// A frame that an HTTP/2 backend sends. Streams are counted from the newest request back.
enum FrameStep {
  case settings(streams: Int?, window: Int?), settingsAck
  case head(back: Int, status: Int, ends: Bool, interim: Bool)
  case data(back: Int, size: Int, ends: Bool)
  case trailers(back: Int)
  case reset(back: Int, code: Int)
  case goAway(back: Int, code: Int)
  case window(back: Int?, size: Int)
  case ping, pingAck
}

/// One step.
enum Step {
  case connect(isHTTP2: Bool)
  case request(client: Int, RequestStep, sends: Int?)
  case clientSends(client: Int, count: Int?)
  case clientFinishes(Int), clientLeaves(Int), clientResets(Int)
  case clientTakes(client: Int, count: Int?)
  case clientCancels(client: Int)
  case respond(backend: Int, ResponseStep, sends: Int?)
  case backendSends(backend: Int, count: Int?)
  case backendFinishes(Int), backendLeaves(Int), backendResets(Int)
  case backendTakes(backend: Int, count: Int?)
  case backendSendsRaw(backend: Int, [UInt8])
  case frame(backend: Int, FrameStep)
  case connects(Int), finishConnects
  case advance(milliseconds: Int)
}

extension Step {
  private static var sizes: [Int] { [0, 1, 5, 100, 1000, 5000, 20_000, 70_000, 140_000, 300_000, 2, 17, 400, 9000, 40_000, 600_000] }
  private static var statuses: [Int] { [200, 200, 200, 204, 304, 404, 500, 503, 502, 301, 429, 206, 201, 200, 599, 421] }
  private static var counts: [Int] { [1, 7, 20, 60, 100, 200, 1000, 16_384, 70_000, 9, 24, 30, 40, 300, 5000, 100_000] }
  private static var codes: [Int] { [0, 1, 2, 7, 8, 11, 13, 7] }

  /// All at once, or a first part.
  private static func part(_ number: Int) -> Int? { number < 128 ? nil : counts[number & 15] }

  /// The next step. `isHTTP2` is what backends speak.
  static func read(_ reader: inout ScriptReader, isHTTP2: Bool) -> Step {
    switch reader.byte() % 32 {
    case 0: return .connect(isHTTP2: reader.number() % 4 == 3)
    case 1, 2, 3, 4: return .request(client: reader.number(), readRequest(&reader), sends: part(reader.number()))
    case 5: return .clientSends(client: reader.number(), count: part(reader.number()))
    case 6:
      let client = reader.number()
      return [.clientFinishes(client), .clientLeaves(client), .clientResets(client), .clientCancels(client: client)][reader.number() % 4]
    case 7: return .clientTakes(client: reader.number(), count: part(reader.number()))
    case 8, 9, 10, 11, 12, 13: return isHTTP2 ? .frame(backend: reader.number(), readFrame(&reader)) : .respond(backend: reader.number(), readResponse(&reader), sends: part(reader.number()))
    case 14: return .backendSends(backend: reader.number(), count: part(reader.number()))
    case 15: return .backendFinishes(reader.number())
    case 16: return .backendLeaves(reader.number())
    case 17: return .backendResets(reader.number())
    case 18: return .backendTakes(backend: reader.number(), count: part(reader.number()))
    case 19, 20:
      let backend = reader.number(), count = reader.number() % 64
      return .backendSendsRaw(backend: backend, reader.bytes(count))
    case 21: return .connects(reader.number() % 4)
    case 22: return .finishConnects
    case 23, 24: return .advance(milliseconds: [1, 10, 60, 200, 600, 1100, 2500, 6000][reader.number() % 8])
    case 25, 26, 27, 28, 29, 30: return isHTTP2 ? .frame(backend: reader.number(), readFrame(&reader)) : .advance(milliseconds: reader.number())
    default: return .finishConnects
    }
  }

  private static func readRequest(_ reader: inout ScriptReader) -> RequestStep {
    var step = RequestStep()
    let kind = reader.number(), size = sizes[reader.number() & 7]
    step.route = kind >> 5
    switch kind & 15 {
    case 0...4: break
    case 5: step.method = "HEAD"
    case 6, 7: (step.method, step.body) = ("POST", .length(size))
    case 8: (step.method, step.body) = ("POST", .chunked(size))
    case 9: (step.method, step.body) = ("PUT", .length(size))
    case 10: (step.method, step.body) = ("PUT", .chunked(size))
    case 11: step.isVersion10 = true
    case 12: (step.method, step.body, step.expectsContinue) = ("POST", .length(size), true)
    case 13: step.method = "DELETE"
    case 14: step.method = "POST"
    default: (step.method, step.isVersion10, step.body) = ("POST", true, .length(size))
    }
    return step
  }

  private static func readResponse(_ reader: inout ScriptReader) -> ResponseStep {
    var step = ResponseStep()
    let status = reader.number(), kind = reader.number()
    step.status = statuses[status & 15]
    if status >= 192 { step.interims = status >> 4 & 3 }
    if status >> 4 == 5 { step.retryAfter = kind & 1 }
    step.framing = [.length, .length, .chunked, .close][kind & 3]
    if step.status == 204 || step.status == 304 { step.framing = .none }
    step.size = sizes[kind >> 2 & 15]
    step.closes = kind & 64 != 0
    step.hasTrailers = kind & 128 != 0
    return step
  }

  private static func readFrame(_ reader: inout ScriptReader) -> FrameStep {
    let kind = reader.number(), how = reader.number(), back = kind >> 5
    switch kind & 15 {
    case 0: return .settings(streams: how & 1 == 0 ? nil : [0, 1, 2, 100][how >> 1 & 3], window: how & 8 == 0 ? nil : [0, 10, 1000, 65_535, 1 << 20, 5, 100_000, 1][how >> 4 & 7])
    case 1: return .settingsAck
    case 2, 3, 4: return .head(back: back, status: statuses[how & 15], ends: how & 16 != 0, interim: how & 32 != 0 && how & 64 != 0)
    case 5, 6, 7: return .data(back: back, size: min(16_384, sizes[how & 15]), ends: how & 16 != 0)
    case 8: return .trailers(back: back)
    case 9: return .reset(back: back, code: codes[how & 7])
    case 10: return .goAway(back: back, code: codes[how & 7])
    case 11: return .window(back: how & 1 == 0 ? nil : back, size: counts[how >> 1 & 15])
    case 12: return .ping
    case 13: return .pingAck
    case 14: return .head(back: back, status: 200, ends: false, interim: false)
    default: return .data(back: back, size: 100, ends: true)
    }
  }
}
