// The table of names over reloads: kept, replaced, and what the new one takes over.

import Kernel
import Plan
import Resolution
import Testing

@testable import Master

@Suite struct NameSegmentTests {
  private func plan(_ names: [String], _ change: (inout DNSPlan) -> Void = { _ in }) -> Plan {
    var plan = Plan()
    plan.names = names.map { NamePlan(host: $0) }
    change(&plan.dns)
    return plan
  }

  /// What a worker would have found.
  private func known(_ last: UInt32, now: Int64) -> NameState {
    var state = NameState()
    let found = PartOutcome.addresses([ResolvedAddress(IPAddress(v4: 0x0a00_0000 + last))], seconds: 60)
    _ = state.ended([AnswerPart(PartKey(isIPv6: false), found)], DNSPlan(), now: now, random: 0)
    return state
  }

  @Test func isKeptAsLongAsTheNamesAreTheSame() throws {
    #expect(try NameSegment.make(for: plan([]), previous: nil, now: 0) == nil)
    let first = try #require(try NameSegment.make(for: plan(["a", "b"]), previous: nil, now: 0))
    #expect(first.state(of: 0) == nil && first.state(of: 7) == nil)
    #expect(try NameSegment.make(for: plan(["a", "b"]), previous: first, now: 0) === first)
  }

  @Test func whatIsKnownIsTakenOver() throws {
    let first = try #require(try NameSegment.make(for: plan(["a", "b"]), previous: nil, now: 0))
    first.table.publish(1, known(7, now: 1_000).words, now: 1_000)
    let second = try #require(try NameSegment.make(for: plan(["new", "b"]), previous: first, now: 2_000))
    #expect(second !== first && second.state(of: 0) == nil)
    #expect(second.state(of: 1)?.addresses.map(\.text) == ["10.0.0.7"] && second.state(of: 1)?.goodUntil == 61_000)
  }

  @Test func otherRulesMakeItDue() throws {
    let first = try #require(try NameSegment.make(for: plan(["b"]), previous: nil, now: 0))
    first.table.publish(0, known(7, now: 1_000).words, now: 1_000)
    let second = try #require(try NameSegment.make(for: plan(["b"]) { $0.servers = ["127.0.0.1:53"] }, previous: first, now: 2_000))
    #expect(second !== first)
    #expect(second.state(of: 0)?.addresses.map(\.text) == ["10.0.0.7"] && second.state(of: 0)?.goodUntil == 2_000)
  }

  @Test func aServiceIsAnotherNameThanAHost() throws {
    let first = try #require(try NameSegment.make(for: plan(["b"]), previous: nil, now: 0))
    first.table.publish(0, known(7, now: 1_000).words, now: 1_000)
    var other = plan([])
    other.names = [NamePlan(host: "b", isService: true)]
    #expect(try NameSegment.make(for: other, previous: first, now: 2_000)?.state(of: 0) == nil)
  }

  /// As an upgrade or the service manager hands it over: the file alone.
  @Test func aTableThatWasLeftIsGoneOnWith() throws {
    let first = try #require(try NameSegment.make(for: plan(["a", "b"]), previous: nil, now: 0))
    first.table.publish(1, known(7, now: 1_000).words, now: 1_000)
    let left = try NameSegment(existing: SharedFile(try first.file.descriptor.duplicate()))
    #expect(try NameSegment.make(for: plan(["a", "b"]), previous: left, now: 2_000) === left)
    #expect(left.state(of: 1)?.addresses.map(\.text) == ["10.0.0.7"])
    let other = try #require(try NameSegment.make(for: plan(["b", "c"]), previous: left, now: 2_000))
    #expect(other.state(of: 0)?.goodUntil == 61_000 && other.state(of: 1) == nil)
    let due = try #require(try NameSegment.make(for: plan(["b"]) { $0.family = .v6Only }, previous: left, now: 2_000))
    #expect(due.state(of: 0)?.goodUntil == 2_000)
  }

  @Test func isInheritedByItsLayout() throws {
    let left = try #require(try NameSegment.make(for: plan(["a"]), previous: nil, now: 0))
    func inherit(_ layout: UInt64, _ file: SharedFile) -> Inheritance {
      var inheritance = Inheritance()
      inheritance.take(Inventory([], [SegmentEntry(kind: SegmentKind.names.rawValue, name: "", layout: layout, file: 3)], meaningOf: nil)) { $0 == 3 ? file : nil }
      return inheritance
    }
    #expect(inherit(NameSegment.layout, left.file).names?.file === left.file)
    let another = inherit(NameSegment.layout ^ 1, left.file)
    #expect(another.names == nil && another.notes.contains { $0.level == .warn })
    // A file that is something else.
    #expect(inherit(NameSegment.layout, SharedFile(try MemoryFile.table(size: 65_536, name: "other"))).names == nil)
  }
}
