// The resolver against a scripted server: what is asked, what comes of it, and that nothing it is sent does harm.

import Glibc
import Kernel
import Plan
import SharedState
import Testing

@testable import Resolution

@Suite struct ResolverTests {
  private typealias Question = ScriptedServer.Question

  private func plan(_ server: ScriptedServer) -> DNSPlan {
    var plan = DNSPlan()
    plan.servers = ["127.0.0.1:\(server.port)"]
    plan.resolveTimeout = 2_000
    return plan
  }

  private func quietFiles() -> Resolver.Files {
    var files = Resolver.Files()
    files.hosts = "/nonexistent/hosts"
    files.configuration = "/nonexistent/resolv.conf"
    return files
  }

  private var now: Int64 { Clock().milliseconds }

  /// Turns both sides until `isDone`; false when that takes too long.
  private func run(_ resolver: Resolver, _ server: ScriptedServer, until isDone: () -> Bool) throws -> Bool {
    let poller = try Epoll()
    try poller.watch(resolver.descriptor, token: 0)
    var events = EventList(capacity: 4)
    let end = now + 10_000
    while !isDone() {
      guard now < end else { return false }
      server.proceed()
      poller.wait(into: &events, milliseconds: 5)
      if events.count > 0 { resolver.isReady(now: now) }
    }
    return true
  }

  private func addresses(_ resolver: Resolver, _ name: Int = 0) -> [String] { resolver.states[name].addresses.map(\.address.text) }

  @Test func asksForBothFamilies() throws {
    let server = ScriptedServer()
    server.answers[Question(name: "app.test", type: 1)] = .records([.a("10.0.0.2", 60), .a("10.0.0.1", 30)])
    server.answers[Question(name: "app.test", type: 28)] = .records([.aaaa("fd00::1", 90)])
    let resolver = try Resolver([NamePlan(host: "app.test")], plan(server), table: nil, hesitates: false, files: quietFiles(), now: now)
    #expect(!resolver.isSettled)
    #expect(try run(resolver, server) { resolver.isSettled })
    #expect(addresses(resolver) == ["10.0.0.1", "10.0.0.2", "fd00::1"])
    #expect(resolver.takeChanges() == [0] && resolver.takeChanges() == [])
    let state = resolver.states[0]
    #expect(state.goodUntil - state.resolvedAt == 30_000 && state.problem == .none)
    #expect(Set(server.asked) == [Question(name: "app.test", type: 1), Question(name: "app.test", type: 28)])
  }

  @Test func followsAliasesAndTheirTimes() throws {
    let server = ScriptedServer()
    var plan = plan(server)
    plan.family = .v4Only
    server.answers[Question(name: "app.test", type: 1)] = .bytes([])
    // The alias and what it leads to in one answer, as servers send it: the address belongs to the alias' name.
    let alias: [UInt8] = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 7, 0, 4, 1, 0x62, 0xc0, 16]
    let address: [UInt8] = [0xc0, 38, 0, 1, 0, 1, 0, 0, 0, 50, 0, 4, 10, 0, 0, 9]
    server.answers[Question(name: "app.test", type: 1)] = .bytes(
      [0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0, 3, 0x61, 0x70, 0x70, 4, 0x74, 0x65, 0x73, 0x74, 0, 0, 1, 0, 1] + alias + address)
    let resolver = try Resolver([NamePlan(host: "app.test")], plan, table: nil, hesitates: false, files: quietFiles(), now: now)
    #expect(try run(resolver, server) { resolver.isSettled })
    #expect(addresses(resolver) == ["10.0.0.9"])
    #expect(resolver.states[0].goodUntil - resolver.states[0].resolvedAt == 7_000)
    #expect(server.asked == [Question(name: "app.test", type: 1)])
  }

  @Test func servicesLeadToTheirTargets() throws {
    let server = ScriptedServer()
    var plan = plan(server)
    plan.family = .v4Only
    server.answers[Question(name: "_http._tcp.test", type: 33)] = .records([
      .service(1, 10, 8001, "a.test", 300), .service(1, 30, 8002, "b.test", 40), .service(2, 0, 8003, "c.test", 300),
    ])
    server.answers[Question(name: "a.test", type: 1)] = .records([.a("10.0.0.1", 60)])
    server.answers[Question(name: "b.test", type: 1)] = .records([.a("10.0.0.2", 60)])
    server.answers[Question(name: "c.test", type: 1)] = .records([.a("10.0.0.3", 60)])
    let resolver = try Resolver([NamePlan(host: "_http._tcp.test", isService: true)], plan, table: nil, hesitates: false, files: quietFiles(), now: now)
    #expect(try run(resolver, server) { resolver.isSettled })
    let found = resolver.states[0].addresses.map { "\($0.address.text):\($0.port) \($0.priority) \($0.weight)" }
    #expect(found == ["10.0.0.1:8001 1 10", "10.0.0.2:8002 1 30", "10.0.0.3:8003 2 0"])
    #expect(resolver.states[0].goodUntil - resolver.states[0].resolvedAt == 40_000)
  }

  @Test func aServiceThatIsNotOffered() throws {
    let server = ScriptedServer()
    server.answers[Question(name: "_http._tcp.test", type: 33)] = .records([.service(0, 0, 0, "", 60)])
    let resolver = try Resolver([NamePlan(host: "_http._tcp.test", isService: true)], plan(server), table: nil, hesitates: false, files: quietFiles(), now: now)
    #expect(try run(resolver, server) { resolver.isSettled })
    #expect(addresses(resolver).isEmpty && resolver.states[0].problem.isAnswer)
  }

  @Test(arguments: [
    ScriptedServer.Answer.code(3), .code(2), .code(5), .code(1), .records([]), .records([.a("0.0.0.0", 5)]), .records([.a("224.0.0.1", 5), .a("255.255.255.255", 5)]),
    .bytes([]), .bytes([0x81, 0x80]), .bytes([0x81, 0x80, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 1, 0x78, 0]),
    .bytes([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1]),
  ])
  func whatIsNoAddressIsAProblem(_ answer: ScriptedServer.Answer) throws {
    let server = ScriptedServer()
    var plan = plan(server)
    plan.resolveTimeout = 600
    for type: UInt16 in [1, 28] { server.answers[Question(name: "app.test", type: type)] = answer }
    let resolver = try Resolver([NamePlan(host: "app.test")], plan, table: nil, hesitates: false, files: quietFiles(), now: now)
    #expect(try run(resolver, server) { resolver.isSettled })
    #expect(addresses(resolver).isEmpty && resolver.states[0].problem != .none)
    #expect(resolver.failureCount == 1 && resolver.states[0].nextLookup > now)
  }

  @Test func silenceEndsAtTheDeadline() throws {
    let server = ScriptedServer()
    var plan = plan(server)
    plan.resolveTimeout = 300
    for type: UInt16 in [1, 28] { server.answers[Question(name: "app.test", type: type)] = .silence }
    let resolver = try Resolver([NamePlan(host: "app.test")], plan, table: nil, hesitates: false, files: quietFiles(), now: now)
    #expect(try run(resolver, server) { resolver.isSettled })
    #expect(resolver.states[0].problem == .timeout)
    // It is asked for again, and found.
    server.answers[Question(name: "app.test", type: 1)] = .records([.a("10.0.0.1", 60)])
    server.answers[Question(name: "app.test", type: 28)] = .records([])
    #expect(try run(resolver, server) { resolver.states[0].problem == .none })
    #expect(addresses(resolver) == ["10.0.0.1"])
  }

  @Test func queriesUnderWayAreBounded() throws {
    let server = ScriptedServer()
    var plan = plan(server)
    plan.maxInFlight = 3
    plan.family = .v4Only
    let names = (0..<50).map { NamePlan(host: "n\($0).test") }
    for name in names { server.answers[Question(name: name.host, type: 1)] = .records([.a("10.0.0.1", 60)]) }
    let resolver = try Resolver(names, plan, table: nil, hesitates: false, files: quietFiles(), now: now)
    // What has been sent before anything was answered.
    var first = 0
    #expect(
      try run(resolver, server) {
        if first == 0 { first = server.asked.count }
        return resolver.isSettled
      })
    #expect(first == 3)
    #expect(resolver.states.allSatisfy { $0.addresses.count == 1 } && server.asked.count == 50)
  }

  @Test func workersTellEachOther() throws {
    let server = ScriptedServer()
    var plan = plan(server)
    plan.family = .v4Only
    server.answers[Question(name: "app.test", type: 1)] = .records([.a("10.0.0.1", 60)])
    let file = try NameTable.create(keys: [1], rules: 0)
    let first = try Resolver([NamePlan(host: "app.test")], plan, table: try NameTable(file), hesitates: false, files: quietFiles(), now: now)
    let second = try Resolver([NamePlan(host: "app.test")], plan, table: try NameTable(file), hesitates: true, files: quietFiles(), now: now)
    #expect(try run(first, server) { first.isSettled })
    second.secondBegan(now: now)
    #expect(second.isSettled && addresses(second) == ["10.0.0.1"] && second.takeChanges() == [0])
    // One that comes later has it from the start.
    let third = try Resolver([NamePlan(host: "app.test")], plan, table: try NameTable(file), hesitates: false, files: quietFiles(), now: now)
    #expect(third.isSettled && addresses(third) == ["10.0.0.1"])
    #expect(server.asked.count == 1)
  }

  @Test func theHostsFileComesFirstAndIsWatched() throws {
    let server = ScriptedServer()
    let path = "/tmp/gateway-hosts-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    defer { Kernel.Files.remove(path) }
    func write(_ text: String) {
      let file = unsafe fopen(path, "w")
      unsafe fputs(text, file)
      unsafe fclose(file)
    }
    write("10.0.0.5 App.Test\n")
    var files = quietFiles()
    files.hosts = path
    server.answers[Question(name: "app.test", type: 1)] = .records([.a("10.0.0.1", 60)])
    server.answers[Question(name: "app.test", type: 28)] = .records([])
    let resolver = try Resolver([NamePlan(host: "app.test."), NamePlan(host: "localhost")], plan(server), table: nil, hesitates: false, files: files, now: now)
    #expect(resolver.isSettled && addresses(resolver) == ["10.0.0.5"] && addresses(resolver, 1) == ["127.0.0.1", "::1"])
    write("10.0.0.6 app.test\n10.0.0.7 app.test\n")
    resolver.secondBegan(now: now)
    #expect(addresses(resolver) == ["10.0.0.6", "10.0.0.7"])
    #expect(server.asked.isEmpty)
    write("")
    resolver.secondBegan(now: now)
    #expect(try run(resolver, server) { addresses(resolver) == ["10.0.0.1"] })
  }

  @Test func anEndInTheMiddleOfQueries() throws {
    let server = ScriptedServer()
    for type: UInt16 in [1, 28] { server.answers[Question(name: "app.test", type: type)] = .silence }
    var resolver: Resolver? = try Resolver([NamePlan(host: "app.test")], plan(server), table: nil, hesitates: false, files: quietFiles(), now: now)
    #expect(resolver?.isSettled == false)
    resolver = nil
  }
}
